"""Shared by the suite's figures: the style of arms and groups, heat maps, and curves over training."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from remdm.analysis.ablations.runs import Suite
from remdm.analysis.seeds import draw_curve
from remdm.analysis.style import (
    GREY,
    INK,
    LINE_VARIANTS,
    MARKER_VARIANTS,
    SERIES,
    Look,
    draw_cells,
    new_figure,
    new_panels,
    say,
    share_limits,
)
from remdm.config.arms import ARMS, BASELINE, GROUPS

GROUP_HATCHES = {"-": "", "A": "", "B": "//", "C": "..", "D": "\\\\"}
GROUP_COLOURS = dict(zip(GROUP_HATCHES, (INK, *SERIES), strict=False))


def group_of(arm: str) -> str:
    """The letter of an arm's group."""
    return next(entry.group for entry in ARMS if entry.name == arm)


def arm_look(arm: str) -> Look:
    """Colour, line and marker of an arm, which differ between the arms of a group; the baseline is bold."""
    if arm == BASELINE:
        return Look(INK, ".", "", "-", 2)
    k = [entry.name for entry in ARMS if entry.group == group_of(arm)].index(arm)
    return Look(SERIES[k], MARKER_VARIANTS[k], "", LINE_VARIANTS[k])


def draw_map(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, **keys: Any
) -> Figure:
    """A figure of one heat map, large enough for its numbers and names; `keys` as of `fill_map`."""
    width, height = 2.2 + 0.42 * max(len(columns), 4), 1.6 + 0.24 * max(len(rows), 4)
    figure, (ax,) = new_figure(width, height)
    fill_map(ax, values, rows, columns, title, **keys)
    return figure


def fill_map(
    ax: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    xlabel: str = "",
    **keys: Any,
) -> None:
    """A heat map [rows, columns] with the names of rows and columns; `keys` as of `draw_cells`."""
    ax.set_xlabel(xlabel)
    if not values.size:
        say(ax, "not measured")
        return
    draw_cells(ax, values, **keys)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
    ax.set_yticks(range(len(rows)), rows, fontsize=7)
    # A title is wrapped to the width of the axes.
    ax.set_title(textwrap.fill(title, max(24, 7 * len(columns))), fontsize=9)


def symmetric(values: np.ndarray, least: float) -> tuple[float, float]:
    """Limits symmetric about zero that cover all values, at least -`least` and `least`."""
    size = np.max(np.abs(values[np.isfinite(values)]), initial=least)
    return -float(size), float(size)


def draw_groups(suite: Suite, *panels: tuple[str, str], pretrained: str | None = None) -> Figure:
    """A row of panels for each metric, a column for each group; every panel contains the baseline.

    Args:
        panels: metric and the label of its axis.
        pretrained: a metric of the pretrained planner to draw as a horizontal line.
    """
    groups = {letter: [arm for arm in suite.arms if group_of(arm) == letter] for letter in GROUPS}
    groups = {letter: arms for letter, arms in groups.items() if arms} or {"-": []}
    width, height = 3.4 * len(groups), 2.7 * len(panels) + 1.1
    figure, axes = new_figure(max(width, 5), height, len(panels), len(groups))
    level = suite.pretrained(pretrained) if pretrained else None
    for row, (metric, unit) in enumerate(panels):
        cells = axes[row * len(groups) : (row + 1) * len(groups)]
        for ax, arms in zip(cells, groups.values(), strict=True):
            if level is not None and level.size:
                ax.axhline(level.mean(), color=GREY, linestyle=":", label="pretrained")
            for arm in [BASELINE, *arms]:
                _draw_arm(ax, suite, arm, metric)
        cells[0].set_ylabel(unit)
        share_limits(cells)
    for ax, letter in zip(axes, groups, strict=False):
        ax.set_title(f"{letter}: {GROUPS[letter]}" if letter in GROUPS else "baseline", fontsize=9)
    for ax in axes[-len(groups) :]:
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
    return figure


def draw_panels(suite: Suite, metric: str, unit: str) -> Figure:
    """A panel for each arm with the range of its seeds; the baseline dotted in every panel."""
    figure, axes = new_panels(len(suite.arms), 5, 2.6, 1.9, extra=0.3)
    for ax, arm in zip(axes, suite.arms, strict=True):
        if arm != BASELINE:
            dotted = Look("#555555", "", "", ":")
            draw_curve(ax, suite.of(BASELINE), metric, dotted, BASELINE, "update", band=None)
        look = Look(GROUP_COLOURS[group_of(arm)], "", "", "-")
        if not draw_curve(ax, suite.of(arm), metric, look, arm, "update", band="span"):
            say(ax)
        ax.set_title(arm, fontsize=9)
        ax.tick_params(labelsize=7)
    share_limits(axes)
    figure.supxlabel(f"iteration (dotted: {BASELINE})" if BASELINE in suite.runs else "iteration", fontsize=9)
    figure.supylabel(unit, fontsize=9)
    return figure


def _draw_arm(ax: Axes, suite: Suite, arm: str, metric: str) -> None:
    """An arm's curve, or only its name in the legend."""
    look = arm_look(arm)
    if not draw_curve(ax, suite.of(arm), metric, look, arm, "update", band="span"):
        ax.plot([], [], color=look.colour, ls=look.line, marker=look.marker, label=f"{arm} (missing)")
