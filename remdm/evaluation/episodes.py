"""Play a policy and keep its episodes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from remdm.envs.batch import Step
from remdm.envs.craftax import Game
from remdm.play.player import CHUNK_STEPS, Player


class Episodes(NamedTuple):
    """Episodes in the order they ended, then those that had not; arrays [N], achievements [N, A].

    An episode is `finished` if it ended; else its return, length and achievements are those so far.
    """

    env: np.ndarray
    episode_return: np.ndarray
    length: np.ndarray
    achievements: np.ndarray
    finished: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """Which of its environment's episodes each is, from 0 [N]."""
        number = np.zeros(len(self.env), int)
        for env in np.unique(self.env):
            mine = self.env == env
            number[mine] = np.arange(mine.sum())
        return number

    def where(self, chosen: np.ndarray) -> "Episodes":
        """Those of a mask [N]."""
        return Episodes(*(array[chosen] for array in self))

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
        return self.finished & ~ended_otherwise


def play_episodes(
    player: Player,
    num_steps: int,
    on_progress: Callable[[int], None] = lambda steps: None,
    *,
    first_only: bool = False,
) -> Episodes:
    """Play up to `num_steps` steps in every environment and collect the episodes begun within them.

    Short episodes are more likely to complete in a fixed time than long ones, so with few steps the
    mean of the finished is biased towards them. The mean of all first episodes is free of that bias, and
    falls short only by what the unfinished would still have earned.

    Args:
        player: keeps the `Step` of its transitions.
        first_only: collect the first episode of every environment, and stop when all have ended.
        on_progress: is told how many steps have been played.
    """
    parts: list[Episodes] = []
    for start in range(0, num_steps, CHUNK_STEPS):
        player, step = player.chunk(start)
        played = min(CHUNK_STEPS, num_steps - start)
        parts.append(_episodes(step, *np.nonzero(step.done[:played])))
        on_progress(start + played)
        if first_only and len(np.unique(_joined(parts).env)) == step.done.shape[1]:
            break
    going = np.flatnonzero(~step.done[played - 1])
    episodes = _joined([*parts, _episodes(step, np.full(len(going), played - 1), going)])
    return episodes.where(episodes.number == 0) if first_only else episodes


def _joined(parts: list[Episodes]) -> Episodes:
    return Episodes(*map(np.concatenate, zip(*parts, strict=True)))


def _episodes(step: Step, time: np.ndarray, env: np.ndarray) -> Episodes:
    """The episodes of some environments at some steps of a chunk, both [N]."""
    arrays = (step.episode_return, step.episode_length, step.achievements, step.done)
    return Episodes(env, *(np.asarray(array)[time, env] for array in arrays))
