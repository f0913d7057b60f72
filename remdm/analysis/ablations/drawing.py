"""What the suite's figures share: who looks how, curves over seeds, heat maps, and what is missing."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from remdm.analysis.ablations.runs import ArmRun, Suite
from remdm.analysis.results import smooth
from remdm.analysis.style import new_figure
from remdm.config.arms import ARMS, BASELINE, GROUPS

# Okabe and Ito's colours without yellow; line and marker tell arms apart in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f4f9b")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GROUP_COLOURS = {"-": "#222222", "A": "#0072b2", "B": "#d55e00", "C": "#009e73", "D": "#cc79a7"}
GROUP_HATCHES = {"-": "", "A": "", "B": "//", "C": "..", "D": "\\\\"}
MANY = 60  # values of a curve beyond which it is smoothed
MISSING_HATCH: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": "#999999",
    "hatch": "////",
    "linewidth": 0.5,
}
# Its luminance rises throughout, so it reads in grey.
MAP = matplotlib.colormaps["cividis"].with_extremes(bad=(0, 0, 0, 0))


class Curve(NamedTuple):
    """A metric over training [N]; `mean` is NaN where a run lacks a value that was due."""

    updates: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_curve(runs: Sequence[ArmRun], name: str) -> Curve:
    """Mean, smallest and largest value over seeds; a gap where one of them has none."""
    curves = [run.curve(name) for run in runs]
    updates = sorted({update for curve in curves for update in curve})
    values = np.array([[curve.get(update, np.nan) for update in updates] for curve in curves])
    if not updates:
        return Curve(*[np.array([])] * 4)
    return Curve(np.array(updates), values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def arm_look(arm: str) -> dict[str, Any]:
    """Colour, line and marker of an arm, which differ within a group."""
    if arm == BASELINE:
        return {"color": "#222222", "linestyle": "-", "marker": ".", "linewidth": 2, "markersize": 4}
    group = next(entry.group for entry in ARMS if entry.name == arm)
    k = [entry.name for entry in ARMS if entry.group == group].index(arm)
    return {"color": COLOURS[k], "linestyle": LINES[k], "marker": MARKERS[k], "markersize": 4}


def group_of(arm: str) -> str:
    """The letter of an arm's group."""
    return next(entry.group for entry in ARMS if entry.name == arm)


def arms_by_group(suite: Suite) -> dict[str, list[str]]:
    """The arms asked for, by letter; groups with none are left out."""
    groups = {letter: [arm for arm in suite.arms if group_of(arm) == letter] for letter in GROUPS}
    return {letter: arms for letter, arms in groups.items() if arms} or {"-": []}


def draw_groups(suite: Suite, panels: Sequence[tuple[str, str]], pretrained: str | None = None) -> Figure:
    """A row of panels for each metric, a column for each group; the baseline in each of them.

    Args:
        panels: metric and the label of its axis.
        pretrained: a metric of the pretrained planner to draw as a level.
    """
    groups = arms_by_group(suite)
    width, height = 3.4 * len(groups), 2.7 * len(panels) + 1.1
    figure, axes = new_figure(max(width, 5), height, len(panels), len(groups))
    for row, (metric, unit) in enumerate(panels):
        cells = axes[row * len(groups) : (row + 1) * len(groups)]
        for ax, (letter, arms) in zip(cells, groups.items(), strict=True):
            level = suite.pretrained(pretrained) if pretrained else np.array([])
            if level.size:
                ax.axhline(level.mean(), color="#777777", linestyle=":", label="pretrained")
            for arm in [BASELINE, *arms]:
                _draw_line(ax, suite, arm, metric)
            ax.set_xlabel("iteration" if row == len(panels) - 1 else "")
            ax.set_ylabel(unit if ax is cells[0] else "")
            if row == 0:
                ax.set_title(f"{letter}: {GROUPS[letter]}" if letter in GROUPS else "baseline", fontsize=9)
            if row == len(panels) - 1:
                ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
        low = min(ax.get_ylim()[0] for ax in cells)
        high = max(ax.get_ylim()[1] for ax in cells)
        for ax in cells:
            ax.set_ylim(low, high)
    return figure


def _draw_line(ax: Axes, suite: Suite, arm: str, metric: str) -> None:
    curve = mean_curve(suite.runs.get(arm, []), metric)
    known = bool(np.isfinite(curve.mean).any())
    if len(curve.updates) > MANY and not np.isnan(curve.mean).any():
        curve = Curve(curve.updates, *(smooth(values, len(values) // 25) for values in curve[1:]))
    look = arm_look(arm)
    every = max(1, len(curve.updates) // 10)
    if np.isnan(curve.mean).any():
        every = 1  # a value between two gaps has no line
    ax.plot(curve.updates, curve.mean, label=arm if known else f"{arm} (missing)", markevery=every, **look)
    ax.fill_between(curve.updates, curve.low, curve.high, color=look["color"], alpha=0.15, linewidth=0)


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
    """A heat map [rows, columns] with its numbers; NaN is hatched, as is all that is missing."""
    count, width = values.shape
    if not values.size:
        say_missing(ax, "not measured")
        return
    ax.add_patch(Rectangle((-0.5, -0.5), width, count, zorder=-1, **MISSING_HATCH))
    finite = values[np.isfinite(values)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (0.0, 1.0))
    ax.imshow(np.ma.masked_invalid(values), MAP, aspect="auto", vmin=low, vmax=high)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = value < (low + high) / 2
            colour = "white" if dark else "black"
            text = form.format(value)
            text = text.lstrip("+-") if float(text) == 0 else text
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color=colour)
    ax.set_xticks(range(width), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
    ax.set_yticks(range(count), rows, fontsize=7)
    ax.grid(visible=False)
    # A title is as wide as the axes, not as the figure.
    ax.set_title(textwrap.fill(title, max(24, 7 * width)), fontsize=9)


def say_missing(ax: Axes, text: str = "missing") -> None:
    """Write in the middle of axes that nothing is there to draw."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#777777")


def symmetric(values: np.ndarray, least: float = 1e-9) -> tuple[float, float]:
    """Limits with zero in the middle."""
    finite = np.abs(values[np.isfinite(values)])
    size = max(float(finite.max()) if finite.size else 0.0, least)
    return -size, size


def map_figure(rows: int, columns: int, panels: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure for heat maps of so many cells, side by side."""
    width = panels * (2.2 + 0.42 * max(columns, 4))
    return new_figure(width, 1.6 + 0.24 * max(rows, 4), 1, panels)
