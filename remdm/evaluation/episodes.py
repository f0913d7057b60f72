"""Play a policy and keep the episodes it completes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remdm.envs.batch import Step
from remdm.envs.craftax import Game
from remdm.play.player import CHUNK_STEPS, Player


@dataclass(frozen=True)
class Episodes:
    """Completed episodes in the order they ended; arrays [N], achievements [N, A]."""

    env: np.ndarray
    episode_return: np.ndarray
    length: np.ndarray
    achievements: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """Which of its environment's episodes each is, from 0 [N]."""
        number = np.zeros(len(self.env), int)
        for env in np.unique(self.env):
            mine = self.env == env
            number[mine] = np.arange(mine.sum())
        return number

    def first(self) -> "Episodes":
        """The first episode of each environment."""
        first = self.number == 0
        return Episodes(
            self.env[first], self.episode_return[first], self.length[first], self.achievements[first]
        )

    def truncated(self, game: Game) -> np.ndarray:
        """Whether the game's time was up, with the last action at the latest [N]."""
        if game.time_limit is None:
            return np.zeros(len(self.length), bool)
        return self.length >= game.time_limit

    def died(self, game: Game) -> np.ndarray:
        """Whether neither time nor victory ended it [N]."""
        ended_otherwise = self.truncated(game)
        if game.victory is not None:
            ended_otherwise |= self.achievements[:, game.achievements.index(game.victory)]
        return ~ended_otherwise


def play_episodes(
    player: Player,
    num_steps: int,
    on_progress: Callable[[int], None] = lambda steps: None,
    *,
    first_only: bool = False,
) -> Episodes:
    """Play up to `num_steps` steps in every environment and collect the episodes completed within them.

    Short episodes are more likely to complete in a fixed time than long ones, so with few steps the
    mean is biased towards them. With `first_only` the first episode of every environment counts, and
    playing stops when all have ended: then the mean is free of that bias if all did.

    Args:
        player: keeps the `Step` of its transitions.
        on_progress: is told how many steps have been played.
    """
    parts: list[Episodes] = []
    for start in range(0, num_steps, CHUNK_STEPS):
        player, step = player.chunk(start)
        parts.append(_completed(step, num_steps - start))
        on_progress(min(start + CHUNK_STEPS, num_steps))
        if first_only and len(np.unique(_joined(parts).env)) == step.done.shape[1]:
            break
    episodes = _joined(parts)
    return episodes.first() if first_only else episodes


def _joined(parts: list[Episodes]) -> Episodes:
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
