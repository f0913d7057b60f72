"""Play a policy and keep every episode it completes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from remdm.envs.batch import BatchEnv, Step
from remdm.envs.policy import Policy
from remdm.envs.rollout import PlayState, rollout, start

CHUNK_STEPS = 64


@dataclass(frozen=True)
class Episodes:
    """Completed episodes in the order they ended; arrays [N], achievements [N, A]."""

    env: np.ndarray
    episode_return: np.ndarray
    length: np.ndarray
    achievements: np.ndarray


class Player(NamedTuple):
    """A policy in fresh worlds, compiled and ready to play."""

    play: Callable[[jax.Array, Policy, PlayState], tuple[PlayState, Step]]
    policy: Policy
    state: PlayState
    key: jax.Array


def compile_player(key: jax.Array, env: BatchEnv, policy: Policy) -> Player:
    """Start the games and compile a chunk of steps, so that playing can be timed apart."""
    start_key, play_key = jax.random.split(key)
    state = jax.jit(lambda key: start(key, env, policy.init(env.num_envs)))(start_key)

    def play(key: jax.Array, policy: Policy, state: PlayState) -> tuple[PlayState, Step]:
        state, transitions = rollout(key, env, policy, state, CHUNK_STEPS)
        return state, transitions.step

    return Player(jax.jit(play).lower(play_key, policy, state).compile(), policy, state, play_key)


def play_episodes(
    player: Player, num_steps: int, on_progress: Callable[[int], None] = lambda steps: None
) -> Episodes:
    """Play `num_steps` steps in every environment and collect the episodes completed within them.

    Short episodes are more likely to complete in a fixed time than long ones, so with few steps
    the mean is biased towards them; `num_steps` should be many times an episode's length.
    """
    state, parts = player.state, []
    for first in range(0, num_steps, CHUNK_STEPS):
        state, step = player.play(jax.random.fold_in(player.key, first), player.policy, state)
        parts.append(_completed(jax.device_get(step), num_steps - first))
        on_progress(min(first + CHUNK_STEPS, num_steps))
    names = ("env", "episode_return", "length", "achievements")
    return Episodes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _completed(step: Step, limit: int) -> Episodes:
    """Episodes that ended within the first `limit` steps of a chunk."""
    time, env = np.nonzero(step.done[:limit])
    return Episodes(
        env,
        np.asarray(step.episode_return)[time, env],
        np.asarray(step.episode_length)[time, env],
        np.asarray(step.achievements)[time, env],
    )
