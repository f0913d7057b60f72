"""Let a policy play: the one loop behind collecting, validating, evaluating and offline training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.envs.batch import BatchEnv, Step
from remdm.envs.policy import Policy


@struct.dataclass
class PlayState:
    """Everything that the next step of a game in progress depends on."""

    env: Any
    obs: jax.Array  # [E, D]
    prev_action: jax.Array  # [E]
    done: jax.Array  # [E], whether obs is the first of an episode
    memory: Any


# What of it differs with the number of devices, as part `play` of an algorithm's state: `PooledState`.
PER_DEVICE = ("play/env/pool", "play/env/left")


@struct.dataclass
class Transition:
    """One step of E environments; stacked over time, arrays are [T, E, ...].

    `step.done` follows the action: the episode ends with it.
    """

    obs: Any  # [E, D], or what is kept of it
    action: jax.Array  # [E]
    step: Step


def start(key: jax.Array, env: BatchEnv, memory: Any) -> PlayState:
    """Fresh worlds, for a policy whose memory is `memory`."""
    obs, env_state = env.reset(key)
    return PlayState(
        env=env_state,
        obs=obs,
        prev_action=jnp.zeros(env.num_envs, jnp.int32),
        done=jnp.ones(env.num_envs, bool),
        memory=memory,
    )


def advance(
    key: jax.Array, env: BatchEnv, state: PlayState, action: jax.Array, memory: Any
) -> tuple[PlayState, Step]:
    """Execute actions [E]; `memory` is the policy's after proposing."""
    obs, env_state, step = env.step(key, state.env, action)
    return PlayState(env_state, obs, action.astype(jnp.int32), step.done, memory), step


def rollout(
    key: jax.Array,
    env: BatchEnv,
    policy: Policy,
    state: PlayState,
    num_steps: int,
    keep: Callable[[Transition], Any] = lambda played: played,
) -> tuple[PlayState, Any]:
    """Play `num_steps` steps.

    Args:
        keep: what is wanted of a step's transition, arrays [E, ...].

    Returns:
        The state to go on from, and what is kept of the transitions, arrays [T, E, ...]. XLA drops what is
        not used, so a caller that ignores the observations pays nothing for them.
    """

    def play(state: PlayState, key: jax.Array) -> tuple[PlayState, Any]:
        act_key, env_key = jax.random.split(key)
        action, memory = policy.act(act_key, state.obs, state.prev_action, state.done, state.memory)
        new_state, step = advance(env_key, env, state, action, memory)
        return new_state, keep(Transition(state.obs, action, step))

    return jax.lax.scan(play, state, jax.random.split(key, num_steps))


def episode_metrics(step: Step, achievements: tuple[str, ...]) -> dict[str, jax.Array]:
    """Means over the episodes that ended within steps [T, E]; NaN where none did.

    Args:
        achievements: names of the last axis of `step.achievements`.
    """
    done = step.done
    count = jnp.sum(done)

    def mean(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(done, x, 0)) / count

    unlocked = jnp.sum(step.achievements, axis=(0, 1)) / count
    return {
        "env/episodes": count.astype(jnp.float32),
        "env/episode_return": mean(step.episode_return),
        "env/episode_length": mean(step.episode_length),
        "env/reward": jnp.mean(step.reward),
        "env/achievements": jnp.sum(unlocked),
        **{f"env/achievement/{name}": rate for name, rate in zip(achievements, unlocked, strict=True)},
    }
