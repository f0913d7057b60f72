"""The arrays of a film, and the colours of actions as tokens of a plan."""

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
    """The arrays of `film.npz`: T steps of the filmed episode, and when each of E episodes unlocked what.

    Attributes:
        frames: pixels before every step and after the last [T + 1, h, w, 3].
        places: floor, row and column of the player [T + 1, 3].
        world: the kind of every block at the end [floors, rows, columns].
        tiles: what each kind of block looks like [B, p, p, 3].
        actions: executed [T].
        plans: the plan that is being executed at every step [T, H]; H = 0 for a policy without plans.
        positions: of the executed action within the plan [T].
        rewards: [T].
        lengths: steps of every episode [E]; the filmed one is the first.
        ended: whether it ended; false if it was cut off [E].
        unlocked_at: steps until each achievement was unlocked, 0 if it was not [E, A].
        trace_steps: the steps before which a plan was made [K].
        trace_locked: how many of that plan's actions had already been executed [K].
        traces: its tokens after every denoising step [K, S, H]; the mask is the number of actions.
        top_actions: the most probable actions at each step and position [K, S, H, A], most probable first.
        top_probs: their probabilities.
        confidence: the probability of each token when it was drawn [K, S, H]; arbitrary at masks.
        remask_probs: the probability with which a step re-masks each token [K, S, H].
        expert_probs: the expert's distribution before every step [T, V]; V = 0 without an expert.
        sprites: the distinct tiles of the picture by day [N, p, p, 3].
        views: the index of the sprite at each tile of the picture before every step and after the last
            [T + 1, rows, columns].
        local_view: how many of these rows and columns show the world; the others show the inventory.
        light: from 1 by day to 0 in the darkest night, halved in sleep [T + 1].
        vitals: health and the like [T + 1, .], named by `vitals_names`.
        inventory: the number of each item [T + 1, .], named by `inventory_names`.
        changes: blocks that changed [C, 6]: step, floor, row, column, the kinds before and after.
        time_limit: steps after which the game ends every episode; 0 if there is no limit.
        victory: the achievement that ends an episode; empty if there is none.
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
    top_actions: np.ndarray
    top_probs: np.ndarray
    confidence: np.ndarray
    remask_probs: np.ndarray
    expert_probs: np.ndarray
    sprites: np.ndarray
    views: np.ndarray
    local_view: np.ndarray
    light: np.ndarray
    vitals: np.ndarray
    vitals_names: np.ndarray
    inventory: np.ndarray
    inventory_names: np.ndarray
    changes: np.ndarray
    action_names: np.ndarray
    achievements: np.ndarray
    time_limit: np.ndarray
    victory: np.ndarray

    @property
    def steps(self) -> int:
        """Steps of the filmed episode, T."""
        return len(self.actions)

    @property
    def episode_return(self) -> float:
        """The return of the filmed episode."""
        return float(self.rewards.sum())

    @property
    def died(self) -> bool:
        """Whether the filmed episode ended by neither time nor victory."""
        won = str(self.victory) in (name for _, name in self.unlocked)
        return bool(self.ended[0]) and self.steps != int(self.time_limit) and not won

    @property
    def unlocked(self) -> list[tuple[int, str]]:
        """Steps and names of the achievements that the filmed episode unlocked, in order."""
        pairs = zip(self.unlocked_at[0].tolist(), self.achievements.tolist(), strict=True)
        return sorted((step, name) for step, name in pairs if step)


def read_film(path: Path) -> Film:
    """Read `film.npz`; errors as of `read_file`."""
    return Film(**read_arrays(path, Film._fields))


def film_files(results: Sequence[str]) -> list[Path]:
    """The films among files of results."""
    return [path for path in map(Path, results) if path.name == "film.npz"]


def read_filmed(results: Sequence[str]) -> tuple[Film, str]:
    """The first film among files of results, and its title."""
    path = film_files(results)[0]
    return read_film(path), film_title(path.parent)


def film_title(folder: Path) -> str:
    """The filmed policy, its game and its seed."""
    result = Result(folder)
    return f"{label(result.name)} in {result.env}, seed {result.seed}"


def token_colour(action: str) -> str:
    """The colour of an action; one for all that place something, and one for all that make something."""
    return TOKENS.get(action, TOKENS.get(action.split("_")[0], OTHER))
