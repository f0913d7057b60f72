"""Figures of the actions played before and after."""

import numpy as np
from matplotlib.figure import Figure

from remdm.analysis.ablations.actions import NAMES, ActionUse, action_use, jensen_shannon, transitions
from remdm.analysis.ablations.drawing import (
    GROUP_COLOURS,
    MISSING_HATCH,
    draw_map,
    group_of,
    map_figure,
    symmetric,
)
from remdm.analysis.ablations.runs import Suite
from remdm.analysis.style import new_figure
from remdm.config.arms import BASELINE


def draw_actions(suite: Suite) -> Figure:
    """Change of each action's share from the pretrained planner to the end, in points."""
    uses = {arm: action_use(suite.runs.get(arm, [])) for arm in suite.arms}
    count = max((len(use.after) for use in uses.values() if use), default=1)
    rows = [
        np.full(count, np.nan) if use is None else 100 * (use.after - use.before) for use in uses.values()
    ]
    start = next((100 * use.before for use in uses.values() if use), np.full(count, np.nan))
    changes = np.array(rows)
    figure, (ax,) = map_figure(len(rows), count)
    names = [f"{name} ({share:.1f} %)" for name, share in zip(_names(count), start, strict=True)]
    title = "Share of each action at the end less pretrained (in brackets), points (dark: rarer)"
    draw_map(ax, changes, suite.arms, names, title, "{:+.1f}", limits=symmetric(changes, 1.0))
    return figure


def draw_divergence(suite: Suite) -> Figure:
    """Jensen-Shannon divergence of actions, and of pairs of actions, before against after."""
    figure, (ax,) = new_figure(6.5, 1.2 + 0.28 * max(len(suite.arms), 4))
    for y, arm in enumerate(suite.arms):
        use = action_use(suite.runs.get(arm, []))
        if use is None:
            ax.axhspan(y - 0.4, y + 0.4, **MISSING_HATCH)
            continue
        colour = GROUP_COLOURS[group_of(arm)]
        pairs = jensen_shannon(use.pairs_before.ravel(), use.pairs_after.ravel())
        ax.barh(y - 0.2, jensen_shannon(use.before, use.after), 0.38, color=colour, edgecolor=colour)
        ax.barh(y + 0.2, pairs, 0.38, facecolor="white", edgecolor=colour, hatch="///")
    ax.barh([0], [0], 0, color="#555555", label="actions")
    ax.barh([0], [0], 0, facecolor="white", edgecolor="#555555", hatch="///", label="successive pairs")
    ax.set_yticks(range(len(suite.arms)), suite.arms, fontsize=8)
    ax.set_ylim(len(suite.arms) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.set_xlabel("Jensen-Shannon divergence to the pretrained planner's, nats (at most 0.69)")
    ax.legend(fontsize=8, loc="lower right")
    ax.grid(axis="y", visible=False)
    return figure


def draw_transitions(suite: Suite) -> Figure:
    """Which action follows which: the pretrained planner, the end, and the change, of the baseline."""
    arm = BASELINE if suite.baseline else next(iter(suite.runs))
    use = action_use(suite.runs[arm])
    if use is None:
        figure, (ax,) = map_figure(4, 4)
        draw_map(ax, np.full((1, 1), np.nan), [arm], [""], "no action was played")
        return figure
    played = _played(use)
    names = [_names(len(use.after))[k] for k in played]
    before, after = (
        100 * transitions(pairs)[np.ix_(played, played)] for pairs in (use.pairs_before, use.pairs_after)
    )
    cell = 0.28  # inches
    width = 1.6 + 3 * (cell * max(len(played), 4) + 0.2)
    figure, axes = new_figure(width, 1.8 + cell * max(len(played), 4), 1, 3)
    change = after - before
    limits = (0.0, float(np.nanmax([before, after])))
    share, points = "next action, %", "change, points"
    nameless = [""] * len(names)
    draw_map(axes[0], before, names, names, f"pretrained: {share}", "{:.0f}", limits, size=5)
    draw_map(axes[1], after, nameless, names, f"{arm}, end: {share}", "{:.0f}", limits, size=5)
    draw_map(axes[2], change, nameless, names, points, "{:+.0f}", symmetric(change, 1.0), size=5)
    axes[0].set_ylabel("action")
    return figure


def _played(use: ActionUse, most: int = 17) -> list[int]:
    """The most frequent actions, in the game's order."""
    frequent = np.argsort(-(use.before + use.after), kind="stable")[:most]
    return sorted(int(k) for k in frequent if use.before[k] + use.after[k] > 0)


def _names(count: int) -> list[str]:
    return list(NAMES[:count])
