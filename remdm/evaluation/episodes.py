"""Play a policy and keep every episode it completes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remdm.envs.batch import Step
from remdm.envs.player import CHUNK_STEPS, Player


@dataclass(frozen=True)
class Episodes:
    """Completed episodes in the order they ended; arrays [N], achievements [N, A]."""

    env: np.ndarray
    episode_return: np.ndarray
    length: np.ndarray
    achievements: np.ndarray


def play_episodes(
    player: Player, num_steps: int, on_progress: Callable[[int], None] = lambda steps: None
) -> Episodes:
    """Play `num_steps` steps in every environment and collect the episodes completed within them.

    Short episodes are more likely to complete in a fixed time than long ones, so with few steps
    the mean is biased towards them; `num_steps` should be many times an episode's length.

    Args:
        player: keeps the `Step` of its transitions.
    """
    parts = []
    for first in range(0, num_steps, CHUNK_STEPS):
        player, step = player.chunk(first)
        parts.append(_completed(step, num_steps - first))
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
