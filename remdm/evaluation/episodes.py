"""Play a policy and keep every episode it completes."""

from collections.abc import Callable
from dataclasses import dataclass

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


def play_episodes(
    key: jax.Array,
    env: BatchEnv,
    policy: Policy,
    num_steps: int,
    on_progress: Callable[[int], None] = lambda frames: None,
) -> Episodes:
    """Play `num_steps` steps in every environment and collect the episodes completed within them.

    Short episodes are more likely to complete in a fixed time than long ones, so with few steps
    the mean is biased towards them; `num_steps` should be many times an episode's length.
    """
    start_key, play_key = jax.random.split(key)
    state = jax.jit(lambda key: start(key, env, policy.init(env.num_envs)))(start_key)

    @jax.jit
    def play(key: jax.Array, policy: Policy, state: PlayState) -> tuple[PlayState, Step]:
        state, transitions = rollout(key, env, policy, state, CHUNK_STEPS)
        return state, transitions.step

    parts: list[Episodes] = []
    for first in range(0, num_steps, CHUNK_STEPS):
        state, step = play(jax.random.fold_in(play_key, first), policy, state)
        parts.append(_completed(jax.device_get(step), num_steps - first))
        on_progress(min(first + CHUNK_STEPS, num_steps) * env.num_envs)
    return Episodes(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("env", "episode_return", "length", "achievements")
        )
    )


def _completed(step: Step, limit: int) -> Episodes:
    """Episodes that ended within the first `limit` steps of a chunk."""
    time, env = np.nonzero(step.done[:limit])
    return Episodes(
        env,
        np.asarray(step.episode_return)[time, env],
        np.asarray(step.episode_length)[time, env],
        np.asarray(step.achievements)[time, env],
    )
