"""Frames/s of PPO-RNN training, beside the same algorithm in the structure of the public baselines.

    uv run python benchmarks/ppo.py [--repeats 20] [--config demo]

`plain` is written here as the public code is laid out (arXiv 2402.16801): optimistic resets, flax's own
recurrent cell differentiated through the scan, every epoch a shuffled copy of the rollout, and the
compiler's default flags.
"""

import sys
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from pairs import OURS, Way, compare, parser, serve

from remdm.config.layers import Layer, base_layers, build
from remdm.config.ppo import PPOConfig
from remdm.envs.batch import BatchEnv, make_batch_env
from remdm.envs.wrappers import LogWrapper, OptimisticResetVecEnvWrapper
from remdm.experts.ppo import gae, make_ppo
from remdm.play.rollout import PlayState, advance, start

RATIO = 16


class PlainCell(nn.Module):
    """flax's cell, whose state is zeroed where an episode begins."""

    features: int

    @nn.compact
    def __call__(self, hidden: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """State [B, L], inputs [B, F] and first [B]."""
        x, first = inputs
        return nn.GRUCell(self.features)(jnp.where(first[:, None], 0.0, hidden), x)


class PlainActorCritic(nn.Module):
    """The recurrent actor-critic of the public baselines."""

    num_actions: int
    layer_size: int

    @nn.compact
    def __call__(self, hidden: jax.Array, obs: jax.Array, first: jax.Array) -> tuple:
        """State [B, L], observations [T, B, D] and first [T, B] -> state, logits and values."""
        scan = nn.scan(PlainCell, variable_broadcast="params", split_rngs={"params": False})
        hidden, x = scan(self.layer_size)(hidden, (nn.relu(nn.Dense(self.layer_size)(obs)), first))

        def head(features: int) -> jax.Array:
            y = nn.relu(nn.Dense(self.layer_size)(x))
            return nn.Dense(features)(nn.relu(nn.Dense(self.layer_size)(y)))

        return hidden, head(self.num_actions), head(1)[..., 0]


def make_plain(config: PPOConfig, env: BatchEnv) -> Way:
    """PPO, laid out as the public code is."""
    network = PlainActorCritic(env.game.num_actions, config.network.layer_size)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.ppo_max_grad_norm), optax.adam(config.ppo_lr, eps=1e-5)
    )

    def init(key: jax.Array) -> tuple:
        hidden = jnp.zeros((env.num_envs, config.network.layer_size))
        obs = jnp.zeros((1, env.num_envs, env.game.obs_dim))
        params = network.init(key, hidden, obs, jnp.zeros((1, env.num_envs), bool))
        return key, params, optimizer.init(params), start(key, env, hidden)

    def loss_of(params: Any, hidden: jax.Array, batch: tuple) -> jax.Array:
        obs, first, action, old_log_prob, old_value, advantage, target = batch
        _, logits, value = network.apply(params, hidden, obs, first)
        log_probs = jax.nn.log_softmax(logits)
        log_prob = jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]
        clip = config.ppo_clip_eps
        clipped = old_value + jnp.clip(value - old_value, -clip, clip)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        ratio = jnp.exp(log_prob - old_log_prob)
        scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * scaled, jnp.clip(ratio, 1 - clip, 1 + clip) * scaled).mean()
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
        return -gain + config.ppo_vf_coef * value_loss - config.ppo_ent_coef * entropy

    def update(state: tuple) -> tuple:
        key, params, opt_state, play = state
        key, rollout_key, shuffle_key = jax.random.split(key, 3)

        def step(play: PlayState, key: jax.Array) -> tuple:
            act_key, env_key = jax.random.split(key)
            hidden, logits, value = network.apply(params, play.memory, play.obs[None], play.done[None])
            action = jax.random.categorical(act_key, logits[0])
            log_prob = jax.nn.log_softmax(logits[0])[jnp.arange(env.num_envs), action]
            new, step = advance(env_key, env, play, action, hidden)
            return new, (play.obs, play.done, action, log_prob, value[0], step.reward, step.done)

        hidden = play.memory
        play, (obs, first, action, log_prob, value, reward, done) = jax.lax.scan(
            step, play, jax.random.split(rollout_key, config.ppo_num_steps)
        )
        last = network.apply(params, play.memory, play.obs[None], play.done[None])[2][0]
        advantage = gae(reward, value, done, last, config.ppo_gamma, config.ppo_gae_lambda)
        rollout = (hidden[None], obs, first, action, log_prob, value, advantage, advantage + value)

        def epoch(carry: tuple, key: jax.Array) -> tuple:
            order = jax.random.permutation(key, env.num_envs)
            shuffled = jax.tree.map(lambda x: jnp.take(x, order, axis=1), rollout)
            minibatches = jax.tree.map(
                lambda x: jnp.swapaxes(
                    x.reshape(x.shape[0], config.ppo_num_minibatches, -1, *x.shape[2:]), 0, 1
                ),
                shuffled,
            )

            def minibatch(carry: tuple, batch: tuple) -> tuple:
                params, opt_state = carry
                loss, grads = jax.value_and_grad(loss_of)(params, batch[0][0], batch[1:])
                changes, opt_state = optimizer.update(grads, opt_state, params)
                return (optax.apply_updates(params, changes), opt_state), loss

            return jax.lax.scan(minibatch, carry, minibatches)

        (params, opt_state), _ = jax.lax.scan(
            epoch, (params, opt_state), jax.random.split(shuffle_key, config.ppo_update_epochs)
        )
        return key, params, opt_state, play

    return Way(init, update)


def make(config: PPOConfig, name: str) -> Way:
    """One way, by its name."""
    env = make_batch_env(config.env, config.ppo_num_envs)
    if name == OURS:
        algorithm = make_ppo(config, env)
        return Way(algorithm.init, lambda state: algorithm.update(state)[0])
    batch = OptimisticResetVecEnvWrapper(LogWrapper(env.game.env), config.ppo_num_envs, RATIO)
    return make_plain(config, BatchEnv(env.game, batch))


def main() -> None:
    """Print both rates and their ratio."""
    flags = parser(__doc__.splitlines()[0], repeats=20)
    flags.add_argument("--config", default="demo", help="a preset")
    arguments = flags.parse_args()
    # The last updates of a long run train as the first do; the learning rate is of no account here.
    config = build(PPOConfig, [*base_layers(arguments.config), Layer("benchmark", {"seed": 0})])
    if arguments.serve:
        return serve(partial(make, config), arguments.serve, warm_up=5)
    command = [sys.executable, __file__, "--config", arguments.config, "--serve"]
    compare(command, config.frames_per_update, arguments.repeats)


if __name__ == "__main__":
    main()
