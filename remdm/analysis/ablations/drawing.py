"""What the suite's figures share: who looks how, heat maps, and bars that may be missing."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remdm.analysis.style import (
    INK,
    LINE_VARIANTS,
    MARKER_VARIANTS,
    SERIES,
    Look,
    draw_cells,
    new_figure,
    say,
)
from remdm.config.arms import ARMS, BASELINE

GROUP_HATCHES = {"-": "", "A": "", "B": "//", "C": "..", "D": "\\\\"}
GROUP_COLOURS = dict(zip(GROUP_HATCHES, (INK, *SERIES), strict=False))


def group_of(arm: str) -> str:
    """The letter of an arm's group."""
    return next(entry.group for entry in ARMS if entry.name == arm)


def arm_look(arm: str) -> Look:
    """Colour, line and marker of an arm, which differ within a group; the baseline is bold."""
    if arm == BASELINE:
        return Look(INK, ".", "", "-", 2)
    k = [entry.name for entry in ARMS if entry.group == group_of(arm)].index(arm)
    return Look(SERIES[k], MARKER_VARIANTS[k], "", LINE_VARIANTS[k])


def draw_map(
    ax: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    form: str = "{:.2f}",
    limits: tuple[float, float] | None = None,
    size: float = 6,
) -> None:
    """A heat map [rows, columns] with names of rows and columns, as `draw_cells` draws it."""
    count, width = values.shape
    if not values.size:
        say(ax, "not measured")
        return
    draw_cells(ax, values, form, limits, size)
    ax.set_xticks(range(width), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
    ax.set_yticks(range(count), rows, fontsize=7)
    # A title is as wide as the axes, not as the figure.
    ax.set_title(textwrap.fill(title, max(24, 7 * width)), fontsize=9)


def symmetric(values: np.ndarray, least: float) -> tuple[float, float]:
    """Limits with zero in the middle, at least this far from it."""
    size = np.max(np.abs(values[np.isfinite(values)]), initial=least)
    return -float(size), float(size)


def map_figure(rows: int, columns: int) -> tuple[Figure, Axes]:
    """A figure for a heat map of so many cells."""
    figure, (ax,) = new_figure(2.2 + 0.42 * max(columns, 4), 1.6 + 0.24 * max(rows, 4))
    return figure, ax
