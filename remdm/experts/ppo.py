"""Proximal policy optimisation with a recurrent network (PPO, arXiv 1707.06347)."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from remdm.config.ppo import PPOConfig
from remdm.envs.batch import BatchEnv
from remdm.envs.rollout import PlayState, Transition, advance, episode_metrics, start
from remdm.experts.network import ActorCriticRNN, init_params
from remdm.training.algorithm import Algorithm, Metrics
from remdm.training.optimizer import adamw, at_step


@struct.dataclass
class PPOState:
    """Everything the next update depends on."""

    key: jax.Array
    params: Any
    opt_state: optax.OptState
    play: PlayState


class Batch(NamedTuple):
    """A rollout as PPO trains on it; arrays [T, B, ...], `hidden` [B, L]."""

    hidden: jax.Array  # before the first step
    obs: jax.Array
    first: jax.Array  # whether obs is the first of an episode
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


def gae(
    reward: jax.Array, value: jax.Array, done: jax.Array, last_value: jax.Array, gamma: float, lam: float
) -> jax.Array:
    """Generalised advantage estimates (arXiv 1506.02438).

    Args:
        reward: [T, E].
        value: of the observation before the action [T, E].
        done: whether the episode ended with the action [T, E].
        last_value: of the observation after the last action [E].

    Returns:
        Advantages [T, E].
    """

    def back(carry: tuple[jax.Array, jax.Array], now: tuple) -> tuple[tuple, jax.Array]:
        advantage, next_value = carry
        reward, value, done = now
        delta = reward + gamma * next_value * (1 - done) - value
        advantage = delta + gamma * lam * (1 - done) * advantage
        return (advantage, value), advantage

    inputs = (reward, value, done.astype(jnp.float32))
    return jax.lax.scan(back, (jnp.zeros_like(last_value), last_value), inputs, reverse=True)[1]


def ppo_loss(
    params: Any, network: ActorCriticRNN, batch: Batch, config: PPOConfig
) -> tuple[jax.Array, Metrics]:
    """Clipped surrogate, clipped value loss and entropy bonus of a minibatch (arXiv 1707.06347, eq. 9)."""
    _, logits, value = network.apply(params, batch.hidden, batch.obs, batch.first)
    log_probs = jax.nn.log_softmax(logits)
    log_prob = jnp.take_along_axis(log_probs, batch.action[..., None], axis=-1)[..., 0]
    entropy = -jnp.mean(jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1))

    clip = config.ppo_clip_eps
    clipped_value = batch.value + jnp.clip(value - batch.value, -clip, clip)
    value_loss = 0.5 * jnp.mean(jnp.maximum((value - batch.target) ** 2, (clipped_value - batch.target) ** 2))

    log_ratio = log_prob - batch.log_prob
    ratio = jnp.exp(log_ratio)
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    policy_loss = -jnp.mean(jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage))

    loss = policy_loss + config.ppo_vf_coef * value_loss - config.ppo_ent_coef * entropy
    return loss, {
        "ppo/loss": loss,
        "ppo/policy_loss": policy_loss,
        "ppo/value_loss": value_loss,
        "ppo/entropy": entropy,
        "ppo/kl": jnp.mean(ratio - 1 - log_ratio),
        "ppo/clip_fraction": jnp.mean(jnp.abs(ratio - 1) > clip),
    }


def make_ppo(config: PPOConfig, env: BatchEnv) -> Algorithm:
    """PPO on `env`: an update is one rollout, then epochs of minibatches of whole environments."""
    game = env.game
    network = ActorCriticRNN(game.num_actions, config.layer_size)
    grad_steps = config.ppo_update_epochs * config.ppo_num_minibatches
    schedule = optax.linear_schedule(config.ppo_lr, 0.0, config.num_updates * grad_steps)
    optimizer = adamw(schedule, config.ppo_max_grad_norm)

    def init(key: jax.Array) -> PPOState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = init_params(network, params_key, game.obs_dim)
        play = start(env_key, env, network.initial_state(env.num_envs))
        return PPOState(key, params, optimizer.init(params), play)

    def collect(key: jax.Array, params: Any, play: PlayState) -> tuple[PlayState, tuple]:
        def step(play: PlayState, key: jax.Array) -> tuple[PlayState, tuple]:
            act_key, env_key = jax.random.split(key)
            hidden, logits, value = network.apply(params, play.memory, play.obs[None], play.done[None])
            action = jax.random.categorical(act_key, logits[0])
            log_prob = jax.nn.log_softmax(logits[0])[jnp.arange(env.num_envs), action]
            new_play, step = advance(env_key, env, play, action, hidden)
            return new_play, (Transition(play.obs, action, step), play.done, log_prob, value[0])

        return jax.lax.scan(step, play, jax.random.split(key, config.ppo_num_steps))

    def minibatch_step(carry: tuple, envs: jax.Array, batch: Batch) -> tuple[tuple, Metrics]:
        params, opt_state = carry
        part = Batch(batch.hidden[envs], *(x[:, envs] for x in batch[1:]))
        grads, metrics = jax.grad(ppo_loss, has_aux=True)(params, network, part, config)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        metrics["ppo/grad_norm"] = optax.tree.norm(grads)
        return (optax.apply_updates(params, updates), opt_state), metrics

    def update(state: PPOState) -> tuple[PPOState, Metrics]:
        key, rollout_key, epoch_key = jax.random.split(state.key, 3)
        play, (transition, first, log_prob, value) = collect(rollout_key, state.params, state.play)
        last_value = network.apply(state.params, play.memory, play.obs[None], play.done[None])[2][0]
        step = transition.step
        advantage = gae(step.reward, value, step.done, last_value, config.ppo_gamma, config.ppo_gae_lambda)
        target = advantage + value
        batch = Batch(
            state.play.memory, transition.obs, first, transition.action, log_prob, value, advantage, target
        )

        def epoch(carry: tuple, key: jax.Array) -> tuple[tuple, Metrics]:
            envs = jax.random.permutation(key, env.num_envs).reshape(config.ppo_num_minibatches, -1)
            return jax.lax.scan(lambda c, e: minibatch_step(c, e, batch), carry, envs)

        (params, opt_state), metrics = jax.lax.scan(
            epoch, (state.params, state.opt_state), jax.random.split(epoch_key, config.ppo_update_epochs)
        )
        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(step, game.achievements)
        metrics["ppo/explained_variance"] = 1 - jnp.var(target - value) / jnp.var(target)
        return PPOState(key, params, opt_state, play), metrics

    def adopt(state: PPOState, params: Any, update: int) -> PPOState:
        return replace(state, params=params, opt_state=at_step(state.opt_state, update * grad_steps))

    return Algorithm(
        init=init,
        update=update,
        params=lambda state: state.params,
        adopt=adopt,
        num_updates=config.num_updates,
        frames_per_update=config.frames_per_update,
    )
