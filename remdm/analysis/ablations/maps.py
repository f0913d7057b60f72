"""Heat maps: layers, noise levels and achievements of all arms."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from remdm.analysis.ablations.drawing import draw_map, symmetric
from remdm.analysis.ablations.hypotheses import achievement_rates
from remdm.analysis.ablations.runs import ACHIEVEMENT, BIN_NORM, LAYER_COSINE, LAYER_NORM, Suite
from remdm.analysis.ablations.standing import Standings
from remdm.analysis.seeds import mean_curve
from remdm.analysis.style import INK, SERIES, new_figure, readable, say
from remdm.config.arms import BASELINE


def draw_conflict(suite: Suite) -> Figure:
    """Mean cosine of RL and BC gradient in each layer; negative where they conflict."""
    layers = suite.columns(LAYER_COSINE)
    title = "Cosine of RL and BC gradient, mean over training (dark: conflict)"
    return draw_map(_means(suite, LAYER_COSINE, layers), suite.arms, layers, title, limits=(-1.0, 1.0))


def draw_layers(suite: Suite) -> Figure:
    """Logarithm of each layer's gradient norm; missing for frozen layers, whose norm is zero."""
    layers = suite.columns(LAYER_NORM)
    norms = _means(suite, LAYER_NORM, layers)
    logarithms = np.log10(norms, out=np.full(norms.shape, np.nan), where=norms > 0)
    title = "log10 of gradient norm, mean over training"
    return draw_map(logarithms, suite.arms, layers, title, form="{:.1f}")


def draw_noise_levels(suite: Suite) -> Figure:
    """Gradient norm of each t-bin as a share of its arm's largest: which noise levels dominate."""
    bins = suite.bins
    norms = _means(suite, BIN_NORM, bins)
    largest = np.max(norms, axis=1, keepdims=True, initial=0.0)
    shares = np.divide(norms, largest, out=np.full(norms.shape, np.nan), where=largest > 0)
    edges = [f"{int(k) / len(bins):.1f}-{(int(k) + 1) / len(bins):.1f}" for k in bins]
    title = "Gradient norm by t, share of the arm's largest"
    return draw_map(shares, suite.arms, edges, title, limits=(0.0, 1.0), xlabel="t")


def draw_achievements(suite: Suite) -> Figure:
    """Change of each achievement's rate from the pretrained planner to the end, in percentage points."""
    names = _names(suite)
    values = np.full((len(suite.arms), len(names)), np.nan)
    for row, arm in zip(values, suite.arms, strict=True):
        for name, (before, after) in achievement_rates(suite, arm).items():
            if name in names:
                row[names.index(name)] = 100 * (after - before)
    title = "Episodes with each achievement: end less pretrained, points (dark: lost)"
    limits = symmetric(values, 10.0)
    return draw_map(values, suite.arms, list(map(readable, names)), title, form="{:+.0f}", limits=limits)


def draw_achievements_start_end(suite: Suite, standings: Standings) -> Figure:
    """Start against end of each achievement, for the baseline and the best arm."""
    best = [s.name for s in standings.scored[:1]]
    shown = [*([BASELINE] if BASELINE in suite.runs else []), *best]
    names, columns = _names(suite), max(len(shown), 1)
    figure, axes = new_figure(4.6 * columns, 1.2 + 0.24 * max(len(names), 6), 1, columns)
    for ax in axes[len(shown) :]:
        say(ax)
    for ax, arm in zip(axes, shown, strict=False):
        rates = achievement_rates(suite, arm)
        for y, name in enumerate(names):
            if name in rates:
                before, after = (100 * rate for rate in rates[name])
                ax.plot([before, after], [y, y], color="#999999", linewidth=1.5, zorder=1)
                ax.plot(before, y, "o", color=INK, markerfacecolor="white", markersize=5)
                ax.plot(after, y, "D", color=SERIES[after < before], markersize=4)
        if not rates:
            say(ax)
        ax.set_yticks(range(len(names)), list(map(readable, names)), fontsize=7)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(-2, 102)
        ax.set_title(arm, fontsize=9)
        ax.set_xlabel("episodes with it, % (ring: pretrained, diamond: end)", fontsize=8)
    return figure


def draw_achievements_over_time(suite: Suite) -> Figure:
    """The baseline's rate of each achievement at every evaluation; without the baseline, the first arm's."""
    arm, names = suite.shown, _names(suite)
    curves = [mean_curve(suite.of(arm), ACHIEVEMENT + name, "update", smoothed=False) for name in names]
    updates = next((curve.x for curve in curves if curve), np.array([], int))
    values = np.full((len(names), 1 + len(updates)), np.nan)
    for row, name, curve in zip(values, names, curves, strict=True):
        row[0] = 100 * np.mean(start) if (start := suite.pretrained(ACHIEVEMENT + name)).size else np.nan
        row[1:] = 100 * curve.mean if curve else np.nan
    return draw_map(
        values, list(map(readable, names)), ["pretrained", *map(str, updates)],
        f"{arm}: episodes with each achievement, %", form="{:.0f}", limits=(0.0, 100.0),
        xlabel="iteration of the evaluation (hatched: no episode ended)",
    )  # fmt: skip


def _means(suite: Suite, prefix: str, columns: Sequence[str]) -> np.ndarray:
    """Means over training and seeds: [arms, columns], NaN where never measured."""
    values = [[suite.average(arm, prefix + name) for name in columns] for arm in suite.arms]
    return np.array(values, float).reshape(len(suite.arms), len(columns))


def _names(suite: Suite) -> list[str]:
    """Achievements that were unlocked in any evaluation, in the game's order; all if none was."""
    names = suite.columns(ACHIEVEMENT)

    def seen(name: str) -> bool:
        return any(suite.pretrained(name)) or any(any(run.values(name)) for run in suite.all_runs)

    return [name for name in names if seen(ACHIEVEMENT + name)] or names
