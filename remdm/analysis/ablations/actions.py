"""Shares of actions and of successive pairs of actions, as numbers and figures."""

from dataclasses import dataclass

import numpy as np
import scipy  # which imports a part such as `scipy.special` when it is first used
from matplotlib.figure import Figure

from remdm.analysis.ablations.drawing import GROUP_COLOURS, draw_map, fill_map, group_of, symmetric
from remdm.analysis.ablations.runs import Suite
from remdm.analysis.style import MISSING, new_figure

# Craftax's actions in order; Craftax-Classic has the first 17.
NAMES = (
    *("noop", "left", "right", "up", "down", "do", "sleep", "place stone", "place table", "place furnace"),
    *("place plant", "make wood pickaxe", "make stone pickaxe", "make iron pickaxe", "make wood sword"),
    *("make stone sword", "make iron sword", "rest", "descend", "ascend", "make diamond pickaxe"),
    *("make diamond sword", "make iron armour", "make diamond armour", "shoot arrow", "make arrow"),
    *("cast fireball", "cast iceball", "place torch", "drink potion red", "drink potion green"),
    *("drink potion blue", "drink potion pink", "drink potion cyan", "drink potion yellow", "read book"),
    *("enchant sword", "enchant armour", "make torch", "level up dexterity", "level up strength"),
    *("level up intelligence", "enchant bow"),
)
MOST = 17  # most frequent actions, whose transitions are shown


@dataclass(frozen=True)
class ActionUse:
    """Shares of actions [V] and of successive pairs [V, V], before and after, pooled over an arm's runs."""

    before: np.ndarray
    after: np.ndarray
    pairs_before: np.ndarray
    pairs_after: np.ndarray

    @property
    def divergence(self) -> float:
        """Jensen-Shannon divergence of actions before and after."""
        return jensen_shannon(self.before, self.after)

    @property
    def divergence_of_pairs(self) -> float:
        """Jensen-Shannon divergence of successive pairs before and after."""
        return jensen_shannon(self.pairs_before.ravel(), self.pairs_after.ravel())


def action_use(suite: Suite, arm: str) -> ActionUse | None:
    """The actions of all of an arm's runs; None if none was played."""
    runs = suite.of(arm)
    totals = {
        name: np.sum([run.evaluation[name] for run in runs], axis=0)
        for name in ("counts_before", "counts_after", "bigrams_before", "bigrams_after")
    }
    if any(np.sum(total) == 0 for total in totals.values()):
        return None
    return ActionUse(*(total / np.sum(total) for total in totals.values()))


def entropy(p: np.ndarray) -> float:
    """Shannon entropy of shares [V] in nats; its exponential is the number of effective actions."""
    return float(scipy.special.entr(p).sum())


def gini(p: np.ndarray) -> float:
    """Gini coefficient of shares [V]: 0 if all are equal, 1 - 1/V if one has all."""
    ranked = np.sort(p)
    count = len(p)
    return float(np.sum((2 * np.arange(1, count + 1) - count - 1) * ranked) / (count * ranked.sum()))


def kl(p: np.ndarray, q: np.ndarray, floor: float = 1e-6) -> float:
    """KL(p ‖ q) of shares [V] in nats; shares of q below `floor` count as `floor`, so that it is finite."""
    return float(scipy.special.rel_entr(p, np.maximum(q, floor)).sum())


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of shares [V] in nats, from 0 to ln 2 = 0.69."""
    middle = (p + q) / 2
    return entropy(middle) - (entropy(p) + entropy(q)) / 2


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Half the summed absolute difference of shares [V], from 0 to 1."""
    return float(np.abs(p - q).sum() / 2)


def transitions(pairs: np.ndarray) -> np.ndarray:
    """Probability of the next action (column) after an action (row) [V, V]; NaN after one never played."""
    played = pairs.sum(axis=1, keepdims=True)
    return np.divide(pairs, played, out=np.full(pairs.shape, np.nan), where=played > 0)


def draw_actions(suite: Suite) -> Figure:
    """Change of each action's share from the pretrained planner to the end, in percentage points."""
    uses = [action_use(suite, arm) for arm in suite.arms]
    start = next((100 * use.before for use in uses if use), np.full(1, np.nan))
    missing = np.full(len(start), np.nan)
    changes = np.array([100 * (use.after - use.before) if use else missing for use in uses])
    names = [f"{name} ({share:.1f} %)" for name, share in zip(NAMES, start, strict=False)]
    title = "Share of each action at the end less pretrained (in brackets), points (dark: rarer)"
    return draw_map(changes, suite.arms, names, title, form="{:+.1f}", limits=symmetric(changes, 1.0))


def draw_divergence(suite: Suite) -> Figure:
    """Jensen-Shannon divergence between before and after, of actions and of pairs of actions."""
    figure, (ax,) = new_figure(6.5, 1.2 + 0.28 * max(len(suite.arms), 4))
    for y, arm in enumerate(suite.arms):
        use = action_use(suite, arm)
        if use is None:
            ax.axhspan(y - 0.4, y + 0.4, **MISSING)
            continue
        colour = GROUP_COLOURS[group_of(arm)]
        ax.barh(y - 0.2, use.divergence, 0.38, color=colour, edgecolor=colour)
        ax.barh(y + 0.2, use.divergence_of_pairs, 0.38, facecolor="white", edgecolor=colour, hatch="///")
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
    """Probabilities of the next action: of the pretrained planner, of the baseline's end, and the change."""
    arm = suite.shown
    use = action_use(suite, arm)
    if use is None:
        return draw_map(np.full((1, 1), np.nan), [arm], [""], "no action was played")
    frequent = np.argsort(-(use.before + use.after), kind="stable")[:MOST]
    played = sorted(int(k) for k in frequent if use.before[k] + use.after[k] > 0)
    names = [NAMES[k] for k in played]
    before, after = (
        100 * transitions(pairs)[np.ix_(played, played)] for pairs in (use.pairs_before, use.pairs_after)
    )
    side = 0.28 * max(len(played), 4)  # inches
    figure, axes = new_figure(1.6 + 3 * (side + 0.2), 1.8 + side, 1, 3)
    change = after - before
    limits = (0.0, float(np.nanmax([before, after])))
    maps = (
        (before, names, "pretrained: next action, %", "{:.0f}", limits),
        (after, [""] * len(names), f"{arm}, end: next action, %", "{:.0f}", limits),
        (change, [""] * len(names), "change, points", "{:+.0f}", symmetric(change, 1.0)),
    )
    for ax, (values, rows, title, form, ends) in zip(axes, maps, strict=True):
        fill_map(ax, values, rows, names, title, form=form, limits=ends, size=5)
    axes[0].set_ylabel("action")
    return figure
