"""What everyone earns in an episode."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from remdm.analysis.results import Result, by_env, read_results
from remdm.analysis.style import colour, label, new_figure, save


def draw_returns(evaluations: list[str], output: Path) -> None:
    """For each game, a bar for each policy, and for each of its seeds the mean with its 95 % interval.

    Args:
        evaluations: files of evaluations; policies are drawn in the order they come.
    """
    games = by_env(read_results(evaluations))
    policies = max(len({result.name for result in results}) for results in games.values())
    figure, axes = new_figure((1.6 + 1.7 * policies) * len(games), 4.2, 1, len(games))
    for ax, (env, results) in zip(axes, games.items(), strict=True):
        _draw_bars(ax, results)
        ax.set_title(f"{env}: return of a completed episode, 95 % intervals")
    save(figure, output)


def _draw_bars(ax: Axes, results: list[Result]) -> None:
    policies = list(dict.fromkeys(result.name for result in results))
    for x, policy in enumerate(policies):
        returns = [result.summary["return"] for result in results if result.name == policy]
        mean = float(np.mean([r["mean"] for r in returns]))
        ax.bar(x, mean, width=0.62, color=colour(policy), alpha=0.85)
        spread = np.linspace(-0.2, 0.2, len(returns)) if len(returns) > 1 else [0.0]
        for offset, r in zip(spread, returns, strict=True):
            error = [[r["mean"] - r["low"]], [r["high"] - r["mean"]]]
            ax.errorbar(x + offset, r["mean"], error, color="black", capsize=4, marker="o", markersize=3)
        top = max(r["high"] for r in returns)
        ax.annotate(
            f"{mean:.2f}", (x, top), xytext=(0, 4), textcoords="offset points", ha="center", weight="bold"
        )
    ax.set_xticks(range(len(policies)), [label(policy).replace(" (", "\n(") for policy in policies])
    ax.set_ylabel("mean episode return")
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)
