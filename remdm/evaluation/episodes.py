"""Play a policy and collect its episodes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from remdm.envs.batch import Step
from remdm.envs.craftax import Game
from remdm.play.player import CHUNK_STEPS, Player


class Episodes(NamedTuple):
    """Episodes in the order they ended, then unfinished ones; arrays [N], achievements [N, A].

    An episode is `finished` if it ended; else its return, length and achievements are those so far.
    """

    env: np.ndarray
    episode_return: np.ndarray
    length: np.ndarray
    achievements: np.ndarray
    finished: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """Number of each episode within its environment, from 0 [N]."""
        frame = pl.DataFrame({"env": self.env})
        return frame.select(pl.int_range(pl.len()).over("env")).to_series().to_numpy()

    def where(self, chosen: np.ndarray) -> "Episodes":
        """The episodes of a mask [N]."""
        return Episodes(*(array[chosen] for array in self))

    def truncated(self, game: Game) -> np.ndarray:
        """Whether the game's time limit was reached [N]."""
        if game.time_limit is None:
            return np.zeros(len(self.length), bool)
        return self.length >= game.time_limit

    def died(self, game: Game) -> np.ndarray:
        """Whether an episode ended by neither time limit nor victory [N]."""
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
    """Play up to `num_steps` steps in every environment and collect the episodes that start within them.

    Short episodes are more likely to end in a fixed time than long ones, so with few steps the mean over
    finished episodes is biased towards short ones. The mean over all first episodes has no such bias, and is
    too low only by what unfinished episodes would still have earned.

    Args:
        player: returns the `Step` of its transitions.
        first_only: collect the first episode of every environment, and stop when all have ended.
        on_progress: called with the number of steps played so far.
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
    """The episodes of environments `env` [N] at steps `time` [N] of a chunk."""
    arrays = (step.episode_return, step.episode_length, step.achievements, step.done)
    return Episodes(env, *(np.asarray(array)[time, env] for array in arrays))
