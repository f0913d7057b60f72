"""Play a policy: the loop of training, collection, validation, evaluation and recording."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.envs.batch import BatchEnv, Step
from remdm.envs.craftax import Game
from remdm.envs.packing import pack
from remdm.play.policy import Memory


@struct.dataclass
class PlayState:
    """Everything that the next step of a game in progress depends on."""

    env: Any
    obs: jax.Array  # [E, D]
    prev_action: jax.Array  # [E]
    done: jax.Array  # [E], whether obs is the first of an episode
    memory: Any


@struct.dataclass
class Transition:
    """One step of E environments; stacked over time, arrays are [T, E, ...].

    `step.done` follows the action: the episode ends with it.
    """

    obs: Any  # [E, D], perhaps packed
    action: jax.Array  # [E]
    step: Step
    extras: Any = ()  # what else the policy returned, such as log-probabilities

    def packed(self, game: Game) -> "Transition":
        """The same with packed observations."""
        return replace(self, obs=pack(self.obs, game))


Act = Callable[[jax.Array, PlayState], tuple[jax.Array, Memory, Any]]


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
    act: Act,
    state: PlayState,
    num_steps: int,
    keep: Callable[[Transition], Any] = lambda played: played,
) -> tuple[PlayState, Any]:
    """Play `num_steps` steps.

    Args:
        act: (key, state) -> actions [E], the new memory, and extras, such as log-probabilities; for example a
            `Policy`.
        keep: a step's transition -> results, arrays [E, ...].

    Returns:
        The state to continue from, and the results, arrays [T, E, ...]. XLA drops what is not used, so
        observations cost nothing if `keep` ignores them.
    """

    def play(state: PlayState, key: jax.Array) -> tuple[PlayState, Any]:
        act_key, env_key = jax.random.split(key)
        action, memory, extras = act(act_key, state)
        new_state, step = advance(env_key, env, state, action, memory)
        return new_state, keep(Transition(state.obs, action, step, extras))

    return jax.lax.scan(play, state, jax.random.split(key, num_steps))


def play_plans(
    key: jax.Array,
    plan: Callable[[jax.Array, PlayState], jax.Array],
    follow: Callable[[jax.Array, PlayState, jax.Array, jax.Array], tuple[PlayState, Any]],
    state: PlayState,
    num_steps: int,
    replan_every: int,
) -> tuple[PlayState, Any]:
    """Play `num_steps` steps: plan for all environments at once, follow the plans, plan again.

    Args:
        plan: (key, state) -> plans [E, H].
        follow: (key, state, planned actions [E], whether the episode of the plan has ended [E])
            -> the state after one step, and results.

    Returns:
        The state to continue from, and the results, arrays [T, E, ...].
    """

    def plan_and_follow(state: PlayState, key: jax.Array) -> tuple[PlayState, Any]:
        plan_key, follow_key = jax.random.split(key)
        actions = plan(plan_key, state)[:, :replan_every].T
        keys = jax.random.split(follow_key, replan_every)

        def step(carry: tuple[PlayState, jax.Array], given: tuple) -> tuple[tuple[PlayState, jax.Array], Any]:
            state, over = carry
            key, action = given
            state, kept = follow(key, state, action, over)
            return (state, over | state.done), kept

        (state, _), kept = jax.lax.scan(step, (state, jnp.zeros_like(state.done)), (keys, actions))
        return state, kept

    state, kept = jax.lax.scan(plan_and_follow, state, jax.random.split(key, num_steps // replan_every))
    return state, jax.tree.map(lambda x: x.reshape(num_steps, *x.shape[2:]), kept)


def first_episodes(reward: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each environment's first episode in steps [T, E]: its return, and whether it ended, [E] each.

    The return of one that did not end is that so far.
    """
    ended = jnp.cumsum(done, axis=0)
    going_on = ended - done == 0  # `done` follows the action, whose reward is the episode's
    return jnp.sum(reward * going_on, axis=0), ended[-1] > 0


def episode_metrics(step: Step, achievements: tuple[str, ...]) -> dict[str, jax.Array]:
    """Means over the episodes that ended within steps [T, E]; NaN where none did.

    Args:
        achievements: names of the last axis of `step.achievements`.
    """
    done = step.done
    count = jnp.sum(done)

    def mean(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(done, x, 0)) / count

    unlocked = jnp.sum(step.achievements & done[..., None], axis=(0, 1)) / count
    return {
        "env/episodes": count.astype(jnp.float32),
        "env/episode_return": mean(step.episode_return),
        "env/episode_length": mean(step.episode_length),
        "env/reward": jnp.mean(step.reward),
        "env/achievements": jnp.sum(unlocked),
        **{f"env/achievement/{name}": rate for name, rate in zip(achievements, unlocked, strict=True)},
    }
