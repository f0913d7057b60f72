"""What a film holds, and how actions look when they are the tokens of a plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remdm.analysis.results import Result, read_arrays
from remdm.analysis.style import label

MASK = "#dddddd"
TOKENS = {
    "noop": "#9a9a9a",
    "left": "#3f6fb5",
    "right": "#6d9ee0",
    "up": "#2c8c99",
    "down": "#5fb9b0",
    "do": "#4f9d4b",
    "sleep": "#7a5ba8",
    "rest": "#7a5ba8",
    "place": "#d9822b",
    "make": "#b8483f",
}
OTHER = "#a0527f"


class Film(NamedTuple):
    """The arrays of `film.npz`: T steps of the filmed episode, and when all E episodes unlocked what.

    Attributes:
        frames: pixels before every step and after the last [T + 1, h, w, 3].
        places: floor, row and column of the player [T + 1, 3].
        world: the kind of every block at the end [floors, rows, columns].
        tiles: what each kind of block looks like [B, p, p, 3].
        actions: executed [T].
        plans: the plan in execution at every step [T, H]; H = 0 where the policy has none.
        positions: of the action within the plan [T].
        rewards: [T].
        lengths: steps of every episode [E]; the filmed one is the first.
        ended: whether it ended, or was cut [E].
        unlocked_at: steps until each achievement was unlocked, 0 if it was not [E, A].
        trace_steps: the steps whose plans are shown in the making [K].
        trace_locked: how many of such a plan's actions had been executed [K].
        traces: its tokens after every denoising step [K, S, H]; the mask is the number of actions.
    """

    frames: np.ndarray
    places: np.ndarray
    world: np.ndarray
    tiles: np.ndarray
    actions: np.ndarray
    plans: np.ndarray
    positions: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    ended: np.ndarray
    unlocked_at: np.ndarray
    trace_steps: np.ndarray
    trace_locked: np.ndarray
    traces: np.ndarray
    action_names: np.ndarray
    achievements: np.ndarray

    @property
    def steps(self) -> int:
        """Steps of the filmed episode, T."""
        return len(self.actions)

    @property
    def episode_return(self) -> float:
        """What the filmed episode earned."""
        return float(self.rewards.sum())

    @property
    def unlocked(self) -> list[tuple[int, str]]:
        """Steps and names of what the filmed episode unlocked, in order."""
        found = [
            (int(step), str(name)) for step, name in zip(self.unlocked_at[0], self.achievements, strict=True)
        ]
        return sorted(pair for pair in found if pair[0])


def read_film(path: Path) -> Film:
    """Read `film.npz`; errors as of `read_file`."""
    return Film(**read_arrays(path, Film._fields))


def read_filmed(results: Sequence[str]) -> tuple[Film, str]:
    """The first film among files of results, and its title."""
    path = next(Path(file) for file in results if Path(file).name == "film.npz")
    return read_film(path), film_title(path.parent)


def film_title(folder: Path) -> str:
    """Who is filmed, and where."""
    result = Result(folder)
    return f"{label(result.name)} in {result.env}, seed {result.seed}"


def token_colour(action: str) -> str:
    """The colour of an action; those that place something share one, and so do those that make something."""
    return TOKENS.get(action, TOKENS.get(action.split("_")[0], OTHER))
