"""Figures of the arms' final scores, differences to the baseline, and groups."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from remdm.analysis.ablations.drawing import GROUP_COLOURS, GROUP_HATCHES
from remdm.analysis.ablations.published import published_scores
from remdm.analysis.ablations.runs import Suite
from remdm.analysis.ablations.standing import BETTER, WORSE, Standing, Standings
from remdm.analysis.style import GREY, INK, MISSING, new_figure
from remdm.config.arms import BASELINE, GROUPS

PUBLISHED: dict[str, Any] = {"color": "#b00020", "linestyle": "--", "linewidth": 2}
BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}


def draw_scores(suite: Suite, standings: Standings) -> Figure:
    """A bar for each requested arm, and a mark for each seed."""
    asked = [standings[arm] for arm in suite.arms]
    figure, (ax,) = new_figure(1.6 + 0.42 * max(len(asked), 8), 4.4)
    for x, standing in enumerate(asked):
        _draw_bar(ax, x, standing.scores, standing.entry.group, 0.76)
    _draw_levels(ax, standings)
    ax.set_xticks(range(len(asked)), suite.arms, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_xlim(-0.6, len(asked) - 0.4)
    ax.set_ylabel("return of first episodes, last evaluation")
    ax.grid(axis="x", visible=False)
    handles = [*ax.get_legend_handles_labels()[0], *_group_patches(asked)]
    if any(s.score is None for s in asked):
        handles.append(Patch(label="missing", **MISSING))
    ax.legend(handles=handles, fontsize=7, **BESIDE)
    return figure


def draw_differences(suite: Suite, standings: Standings) -> Figure:
    """Each arm's difference to the baseline with its interval, the best on top."""
    known = [s for s in standings.scored if s.to_baseline is not None]
    absent = [standings[arm] for arm in suite.arms if arm != BASELINE and standings[arm] not in known]
    rows = [*known, *absent]
    figure, (ax,) = new_figure(7, 1.4 + 0.26 * max(len(rows), 4))
    for y, s in enumerate(rows):
        if s.to_baseline is None:
            ax.axhspan(y - 0.35, y + 0.35, **MISSING)
        else:
            value, low, high = s.to_baseline
            ax.barh(y, value, 0.7, **_look(s.entry.group))
            ax.plot([low, high], [y, y], color="black", linewidth=1.2, marker="|", markersize=5)
        ax.annotate(
            s.verdict.lower(), (1.0, y), (4, 0), ("axes fraction", "data"), "offset points", va="center",
            fontsize=7,
        )  # fmt: skip
    ax.axvline(0, color="black", linewidth=0.8)
    if standings.scale > 0:
        limits = -WORSE * standings.scale, BETTER * standings.scale
        ax.axvspan(*limits, facecolor="#e4e4e4", zorder=0)
    ax.set_yticks(range(len(rows)), [s.name for s in rows], fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("difference in return to baseline_rl (grey: neutral)")
    ax.grid(axis="y", visible=False)
    if known:
        figure.legend(handles=_group_patches(known), fontsize=7, loc="outside lower center", ncols=2)
    return figure


def draw_group_scores(suite: Suite, standings: Standings) -> Figure:
    """Each group's mean over arms, a mark for each arm, and the published mean if the setting is the same."""
    published = published_scores(suite)
    figure, (ax,) = new_figure(6.5, 4.2)
    for x, letter in enumerate(GROUPS):
        scores = [s.score for s in standings.scored if s.entry.group == letter]
        _draw_bar(ax, x, np.array(scores, float), letter, 0.6)
        if letter in published:
            ax.plot([x - 0.38, x + 0.38], [published[letter]] * 2, **PUBLISHED)
    if published:
        ax.plot([], [], label="published (early version)", **PUBLISHED)
    _draw_levels(ax, standings)
    titles = [textwrap.fill(f"{letter}: {title}", 15) for letter, title in GROUPS.items()]
    ax.set_xticks(range(len(titles)), titles, fontsize=8)
    ax.set_xlim(-0.6, len(titles) - 0.4)
    ax.set_ylabel("return of first episodes, mean over arms")
    ax.grid(axis="x", visible=False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7, **BESIDE)
    return figure


def _draw_bar(ax: Axes, x: int, scores: np.ndarray, group: str, width: float) -> None:
    """The mean of scores as a bar, and each score as a dot."""
    if not scores.size:
        ax.axvspan(x - width / 2, x + width / 2, **MISSING)
        return
    ax.bar(x, scores.mean(), width, **_look(group))
    spread = np.linspace(-0.2, 0.2, len(scores)) if len(scores) > 1 else np.zeros(1)
    ax.plot(x + spread, scores, "o", color="black", markersize=3)


def _draw_levels(ax: Axes, standings: Standings) -> None:
    if standings.pretrained is not None:
        ax.axhline(standings.pretrained, color=GREY, linestyle=":", label="pretrained")
    if standings.baseline is not None:
        ax.axhline(standings.baseline, color=INK, linestyle="--", linewidth=1, label="baseline_rl")


def _look(group: str) -> dict[str, Any]:
    return {"facecolor": GROUP_COLOURS[group], "hatch": GROUP_HATCHES[group], "edgecolor": "white"}


def _group_patches(standings: Iterable[Standing]) -> list[Patch]:
    letters = {standing.entry.group for standing in standings}
    return [Patch(label=f"{k}: {title}", **_look(k)) for k, title in GROUPS.items() if k in letters]
