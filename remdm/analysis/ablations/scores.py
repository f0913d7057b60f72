"""How the arms end: scores, differences and groups."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from remdm.analysis.ablations.drawing import GROUP_COLOURS, GROUP_HATCHES, MISSING_HATCH
from remdm.analysis.ablations.published import published_scores
from remdm.analysis.ablations.runs import Suite
from remdm.analysis.ablations.significance import BETTER, WORSE
from remdm.analysis.ablations.standing import Standing, Standings
from remdm.analysis.style import new_figure
from remdm.config.arms import GROUPS


def draw_scores(suite: Suite, standings: Standings) -> Figure:
    """A bar for each arm asked for, and a mark for each seed."""
    asked = [standings[arm] for arm in suite.arms]
    figure, (ax,) = new_figure(1.6 + 0.42 * max(len(asked), 8), 4.4)
    for x, standing in enumerate(asked):
        _draw_bar(ax, x, standing)
    _draw_levels(ax, standings)
    ax.set_xticks(
        range(len(asked)),
        [s.name for s in asked],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        fontsize=8,
    )
    ax.set_xlim(-0.6, len(asked) - 0.4)
    ax.set_ylabel("episode return, last evaluation")
    ax.grid(axis="x", visible=False)
    handles = [*ax.get_legend_handles_labels()[0], *_group_patches({s.entry.group for s in asked})]
    if any(s.score is None for s in asked):
        handles.append(Patch(label="missing", **MISSING_HATCH))
    ax.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_differences(suite: Suite, standings: Standings) -> Figure:
    """Each arm's difference to the baseline with its interval over seeds, the best on top."""
    known = [s for s in standings.scored if s.to_baseline is not None]
    absent = [s for s in standings.arms if s.name in suite.arms and s not in known and s.entry.group != "-"]
    figure, (ax,) = new_figure(7, 1.4 + 0.26 * max(len(known) + len(absent), 4))
    for y, s in enumerate([*known, *absent]):
        if s.to_baseline is None:
            ax.axhspan(y - 0.35, y + 0.35, **MISSING_HATCH)
        else:
            ax.barh(y, s.to_baseline, 0.7, **_look(s.entry.group))
        if s.low is not None and s.high is not None:
            ax.plot([s.low, s.high], [y, y], color="black", linewidth=1.2, marker="|", markersize=5)
        beside: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "xytext": (4, 0),
            "textcoords": "offset points",
        }
        ax.annotate(s.verdict.lower(), (1.0, y), va="center", fontsize=7, **beside)
    ax.axvline(0, color="black", linewidth=0.8)
    if standings.scale > 0:
        limits = -WORSE * standings.scale, BETTER * standings.scale
        ax.axvspan(*limits, facecolor="#e4e4e4", zorder=0)
    ax.set_yticks(range(len(known) + len(absent)), [s.name for s in [*known, *absent]], fontsize=8)
    ax.set_ylim(len(known) + len(absent) - 0.4, -0.6)
    ax.set_xlabel("difference in episode return to baseline_rl (grey: neutral)")
    ax.grid(axis="y", visible=False)
    if known:
        patches = _group_patches({s.entry.group for s in known})
        figure.legend(handles=patches, fontsize=7, loc="outside lower center", ncols=2)
    return figure


def draw_group_scores(suite: Suite, standings: Standings) -> Figure:
    """Each group's mean over arms, its arms as marks, and the published mean if the setting is the same."""
    published = published_scores(suite)
    figure, (ax,) = new_figure(6.5, 4.2)
    letters = list(GROUPS)
    for x, letter in enumerate(letters):
        scores = [float(s.scores.mean()) for s in standings.scored if s.entry.group == letter]
        if scores:
            look = _look(letter)
            ax.bar(x, np.mean(scores), 0.6, **look)
            spread = np.linspace(-0.2, 0.2, len(scores)) if len(scores) > 1 else [0.0]
            ax.plot(x + np.asarray(spread), scores, "o", color="black", markersize=3)
        else:
            ax.axvspan(x - 0.3, x + 0.3, **MISSING_HATCH)
        if published:
            ax.plot(
                [x - 0.38, x + 0.38], [published[letter]] * 2, color="#b00020", linestyle="--", linewidth=2
            )
    if published:
        ax.plot([], [], color="#b00020", linestyle="--", linewidth=2, label="published (early version)")
    _draw_levels(ax, standings)
    titles = [textwrap.fill(f"{letter}: {GROUPS[letter]}", 15) for letter in letters]
    ax.set_xticks(range(len(letters)), titles, fontsize=8)
    ax.set_xlim(-0.6, len(letters) - 0.4)
    ax.set_ylabel("episode return, mean over arms")
    ax.grid(axis="x", visible=False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_bar(ax: Axes, x: int, s: Standing) -> None:
    if s.score is None:
        ax.axvspan(x - 0.38, x + 0.38, **MISSING_HATCH)
        return
    look = _look(s.entry.group)
    ax.bar(x, s.score, 0.76, **look)
    spread = np.linspace(-0.2, 0.2, len(s.scores)) if len(s.scores) > 1 else [0.0]
    ax.plot(x + np.asarray(spread), s.scores, "o", color="black", markersize=3)


def _draw_levels(ax: Axes, standings: Standings) -> None:
    if standings.pretrained is not None:
        ax.axhline(standings.pretrained, color="#777777", linestyle=":", label="pretrained")
    if standings.baseline is not None:
        ax.axhline(standings.baseline, color="#222222", linestyle="--", linewidth=1, label="baseline_rl")


def _look(group: str) -> dict[str, Any]:
    return {
        "color": GROUP_COLOURS[group],
        "hatch": GROUP_HATCHES[group],
        "edgecolor": "white",
    }


def _group_patches(letters: set[str]) -> list[Patch]:
    return [
        Patch(
            facecolor=GROUP_COLOURS[letter],
            hatch=GROUP_HATCHES[letter],
            edgecolor="white",
            label=f"{letter}: {GROUPS[letter]}",
        )
        for letter in GROUPS
        if letter in letters
    ]
