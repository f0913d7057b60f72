"""The share of episodes in which each policy unlocks each achievement."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remdm.analysis.policies import EvaluatedPolicy, behind, first_evaluations, read_policies
from remdm.analysis.results import grouped
from remdm.analysis.style import WIDTH, errors_of, legend_below, looks, new_figure, publish, readable
from remdm.base.estimates import Estimate


def draw(evaluations: list[str], path: Path) -> None:
    """Draw the share of episodes that unlock each achievement as a figure of the paper.

    Each policy has one bar; the table of achievements also has the further ways to play.
    """
    policies = first_evaluations(read_policies(evaluations))
    caption = (
        "Share of episodes that unlock each achievement. Achievements that nobody unlocks are named below "
        f"the axes. {behind(policies, 'rate')}"
    )
    publish(draw_rates(policies, list(grouped(policies, "env"))), path, caption)


def draw_rates(policies: list[EvaluatedPolicy], titles: list[str]) -> Figure:
    """A panel for each game, all its policies side by side."""
    games = grouped(policies, "env")
    rates = {env: {policy.name: policy.rates() for policy in rivals} for env, rivals in games.items()}
    bars = [max(len(unlocked(found)), 4) * (0.09 + 0.075 * len(found)) for found in rates.values()]
    # Games below each other: full Craftax has three times as many rows as Classic.
    figure, axes = new_figure(WIDTH, sum(bars) + 0.4 + 1.1 * len(bars), len(games), 1, heights=bars)
    for ax, title, (env, rivals) in zip(axes, titles, games.items(), strict=True):
        _draw_bars(ax, rates[env], {policy.name: policy.label for policy in rivals})
        ax.set_title(title, loc="left")
    legend_below(figure, axes)
    return figure


def _draw_bars(ax: Axes, rates: dict[str, dict[str, Estimate]], labels: dict[str, str]) -> None:
    order = unlocked(rates)
    height = 0.8 / len(rates)
    for k, (policy, look) in enumerate(looks(rates).items()):
        found = [rates[policy][name].percent for name in order]
        ax.barh(
            np.arange(len(order)) + (k - (len(rates) - 1) / 2) * height, [each.value for each in found],
            height, xerr=errors_of(found), color=look.colour, hatch=look.hatch, edgecolor="white",
            linewidth=0, label=labels[policy], error_kw={"elinewidth": 0.6, "ecolor": "#444444"},
        )  # fmt: skip
    ax.set_yticks(range(len(order)), [readable(name) for name in order])
    ax.set_ylim(max(len(order), 1) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.grid(axis="y", visible=False)
    never = ", ".join(readable(name) for name in next(iter(rates.values())) if name not in order)
    note = "\n" + textwrap.fill(f"never: {never}", 100) if never else ""
    ax.set_xlabel(f"episodes that unlock it, %{note}")


def unlocked(rates: dict[str, dict[str, Estimate]]) -> list[str]:
    """Achievements that any policy unlocks, the most frequent first."""
    best = {name: max(found[name].value for found in rates.values()) for name in next(iter(rates.values()))}
    return sorted((name for name, value in best.items() if value > 0), key=lambda name: -best[name])
