"""Proximal policy optimisation (PPO, arXiv 1707.06347), with any expert's network and exploration."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from remdm.base.fields import Role
from remdm.config.ppo import PPOConfig
from remdm.envs.batch import BatchEnv, Step
from remdm.envs.devices import split
from remdm.experts.exploration import Experience, Exploration, make_exploration
from remdm.experts.network import Network, init_params, make_network
from remdm.play.rollout import PlayState, Transition, episode_metrics, rollout, start
from remdm.training.algorithm import Algorithm, Metrics
from remdm.training.epochs import train_epochs
from remdm.training.optimizer import adamw, at_step


@struct.dataclass
class PPOState:
    """Everything the next update depends on."""

    key: jax.Array
    params: Any
    opt_state: optax.OptState
    play: Annotated[PlayState, Role.SPLIT]
    exploration: Any  # None without


class RolloutBatch(NamedTuple):
    """A rollout as training data: B sequences of T steps, and a memory before each.

    For a recurrent network, sequences are environments; for one without memory, single steps.
    """

    memory: Any  # [B, ...]
    obs: jax.Array  # [T, B, D]
    first: jax.Array  # whether obs is the first of an episode [T, B]
    action: jax.Array  # [T, B]
    log_prob: jax.Array  # [T, B]
    value: jax.Array  # [T, B, C]
    advantage: jax.Array  # [T, B]
    target: jax.Array  # [T, B, C]

    def sequences(self, indices: jax.Array) -> "RolloutBatch":
        """The sequences with indices [N]."""
        memory = jax.tree.map(lambda x: x[indices], self.memory)
        return RolloutBatch(split(memory), *split([x[:, indices] for x in self[1:]], axis=1))

    def single_steps(self, indices: jax.Array) -> "RolloutBatch":
        """The steps with indices t B + b [N], each a sequence."""
        # Gathered in place: with times and environments as one axis, these would not stay on their device.
        time, env = indices // self.action.shape[1], indices % self.action.shape[1]
        return RolloutBatch((), *split([x[time, env][None] for x in self[1:]], axis=1))


def gae(
    reward: jax.Array, value: jax.Array, done: jax.Array, last_value: jax.Array, gamma: float, lam: float
) -> jax.Array:
    """Generalised advantage estimates (arXiv 1506.02438).

    Args:
        reward: [T, ...].
        value: of the observation before the action [T, ...].
        done: whether the return ended with the action [T, ...].
        last_value: of the observation after the last action [...].

    Returns:
        Advantages [T, ...].
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
    params: Any, network: Network, batch: RolloutBatch, config: PPOConfig
) -> tuple[jax.Array, Metrics]:
    """Clipped surrogate, clipped value loss and entropy bonus of a minibatch (arXiv 1707.06347, eq. 9).

    The losses of several critics are summed.
    """
    _, logits, value = network.apply(params, batch.memory, batch.obs, batch.first)
    log_probs = jax.nn.log_softmax(logits)
    # No indexing, because its gradient is a scatter, which is slow on GPUs in deterministic runs.
    log_prob = jnp.sum(jax.nn.one_hot(batch.action, logits.shape[-1]) * log_probs, axis=-1)
    entropy = -jnp.mean(jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1))

    clip = config.ppo_clip_eps
    clipped_value = batch.value + jnp.clip(value - batch.value, -clip, clip)
    squared = jnp.maximum((value - batch.target) ** 2, (clipped_value - batch.target) ** 2)
    value_loss = 0.5 * jnp.sum(jnp.mean(squared, axis=(0, 1)))

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


def explore(
    key: jax.Array, exploration: Exploration | None, state: Any, data: Transition, last_obs: jax.Array
) -> tuple[jax.Array | float, Any, Metrics]:
    """Intrinsic rewards [T, E] of a rollout, and the exploration's state after learning from it."""
    if exploration is None:
        return 0.0, None, {}
    obs = jnp.concatenate([data.obs, last_obs[None]])
    experience = Experience(obs, data.action, data.step.done)
    state, reward = exploration.reward(state, experience)
    state, metrics = exploration.update(key, state, experience)
    return reward, state, metrics | {"exploration/reward": jnp.mean(reward)}


def streams(
    step: Step, novelty: jax.Array | float, config: PPOConfig
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rewards and ends of returns [T, E, C] by critic, and the weights of their advantages [C].

    RND has a critic only for novelty (arXiv 1810.12894, section 2.3); otherwise `novelty` is added to the
    game's reward.
    """
    if config.network.ppo_model_type != "ppo_rnd":
        return (step.reward + novelty)[..., None], step.done[..., None], jnp.ones(1)
    rewards = jnp.stack([step.reward, jnp.broadcast_to(novelty, step.reward.shape)], axis=-1)
    ends = jnp.stack([step.done, step.done & config.rnd.rnd_episodic], axis=-1)
    return rewards, ends, jnp.array([1.0, config.rnd.rnd_gae_coef])


def make_ppo(config: PPOConfig, env: BatchEnv) -> Algorithm:
    """PPO on `env`: an update is one rollout, then epochs of minibatches.

    An exploration's reward is added to the game's. RND's has a critic and advantages of its own,
    weighted by `rnd_gae_coef`, and returns that do not end with the episode.
    """
    game = env.game
    network = make_network(config.network, game.num_actions)
    exploration = make_exploration(config, game, env.num_envs)
    grad_steps = config.ppo_update_epochs * config.ppo_num_minibatches
    schedule = optax.linear_schedule(config.ppo_lr, 0.0, config.num_updates * grad_steps)
    optimizer = adamw(schedule, config.ppo_max_grad_norm)

    @jax.jit
    def init(key: jax.Array) -> PPOState:
        key, params_key, env_key, exploration_key = jax.random.split(key, 4)
        params = init_params(network, params_key, game.obs_dim)
        play = start(env_key, env, network.initial_state(env.num_envs))
        novelty = exploration.init(exploration_key) if exploration else None
        return PPOState(key, params, optimizer.init(params), play, novelty)

    def act(params: Any, key: jax.Array, play: PlayState) -> tuple[jax.Array, Any, tuple]:
        with jax.named_scope("expert"):
            memory, logits, value = network.apply(params, play.memory, play.obs[None], play.done[None])
        action = jax.random.categorical(key, logits[0])
        log_prob = jax.nn.log_softmax(logits[0])[jnp.arange(env.num_envs), action]
        return action, memory, (play.done, log_prob, value[0])

    def train_on(learner: tuple, batch: RolloutBatch) -> tuple[tuple, Metrics]:
        params, opt_state = learner
        with jax.named_scope("gradient"):
            grads, metrics = jax.grad(ppo_loss, has_aux=True)(params, network, batch, config)
        with jax.named_scope("optimiser"):
            updates, opt_state = optimizer.update(grads, opt_state, params)
        metrics["ppo/grad_norm"] = optax.tree.norm(grads)
        return (optax.apply_updates(params, updates), opt_state), metrics

    @jax.jit
    def update(state: PPOState) -> tuple[PPOState, Metrics]:
        key, rollout_key, epoch_key, explore_key = jax.random.split(state.key, 4)
        play, data = rollout(rollout_key, env, partial(act, state.params), state.play, config.ppo_num_steps)
        first, log_prob, value = data.extras
        novelty, explored, metrics = explore(explore_key, exploration, state.exploration, data, play.obs)

        last_value = network.apply(state.params, play.memory, play.obs[None], play.done[None])[2][0]
        reward, ends, weights = streams(data.step, novelty, config)
        advantages = gae(reward, value, ends, last_value, config.ppo_gamma, config.ppo_gae_lambda)
        target, advantage = advantages + value, jnp.sum(advantages * weights, axis=-1)
        batch = RolloutBatch(
            state.play.memory, data.obs, first, data.action, log_prob, value, advantage, target
        )
        gather, count = batch.sequences, env.num_envs
        if not network.recurrent:
            gather, count = batch.single_steps, data.action.size

        (params, opt_state), training = train_epochs(
            epoch_key,
            config.ppo_update_epochs,
            config.ppo_num_minibatches,
            count,
            lambda learner, indices: train_on(learner, jax.named_scope("gathering")(gather)(indices)),
            (state.params, state.opt_state),
        )
        metrics |= training | episode_metrics(data.step, game.achievements)
        metrics["ppo/explained_variance"] = 1 - jnp.var((target - value)[..., 0]) / jnp.var(target[..., 0])
        return PPOState(key, params, opt_state, play, explored), metrics

    def adopt(state: PPOState, params: Any, update: int) -> PPOState:
        return replace(state, params=params, opt_state=at_step(state.opt_state, update * grad_steps))

    return Algorithm(
        init=init,
        update=update,
        params=lambda state: state.params,
        adopt=adopt,
        num_updates=config.num_updates,
        frames_per_update=config.frames_per_update,
        learning_rate=jax.jit(lambda update: schedule(update * grad_steps - 1)),
    )
