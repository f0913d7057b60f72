"""Who unlocks what."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from remdm.analysis.results import Result, by_env, read_results
from remdm.analysis.style import colour, label, new_figure, save


def draw_achievements(evaluations: list[str], output: Path) -> None:
    """Share of episodes that unlock each achievement, all policies side by side, one column a game.

    Rates are means over a policy's seeds; 95 % intervals are drawn where a policy has one seed.
    Achievements that nobody unlocks are named below the axes.
    """
    games = by_env(read_results(evaluations))
    rates = {env: _rates_of_policies(results) for env, results in games.items()}
    rows = max(len(_unlocked(game)) for game in rates.values())
    policies = max(len(game) for game in rates.values())
    height = 1.4 + (0.08 + 0.1 * policies) * max(rows, 4)
    figure, axes = new_figure(8 * len(games), height, 1, len(games))
    for ax, (env, results) in zip(axes, games.items(), strict=True):
        _draw_bars(ax, rates[env], list(results[0].summary["achievements"]), intervals=_one_seed(results))
        ax.set_title(f"{env}: achievements")
    save(figure, output)


def _draw_bars(ax: Axes, rates: dict[str, np.ndarray], names: list[str], intervals: bool) -> None:
    order = _unlocked(rates)
    height = 0.8 / len(rates)
    for k, (policy, values) in enumerate(rates.items()):
        mean, low, high = values[order].T
        y = np.arange(len(order)) + (k - (len(rates) - 1) / 2) * height
        ax.barh(
            y,
            mean,
            height,
            xerr=[mean - low, high - mean] if intervals else None,
            color=colour(policy),
            label=label(policy),
            error_kw={"elinewidth": 0.8, "ecolor": "#444444"},
        )
    readable = [name.replace("_", " ") for name in names]
    ax.set_yticks(range(len(order)), [readable[i] for i in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", fontsize=8)
    never = ", ".join(name for i, name in enumerate(readable) if i not in order)
    note = "\n" + textwrap.fill(f"never: {never}", 90) if never else ""
    ax.set_xlabel(f"episodes that unlock it, %{note}")


def _rates_of_policies(results: list[Result]) -> dict[str, np.ndarray]:
    """For each policy, means over its seeds of rate, low and high in per cent: [A, 3]."""
    names = list(results[0].summary["achievements"])
    values: dict[str, list[list[list[float]]]] = {}
    for result in results:
        rates = [result.summary["achievements"][name] for name in names]
        values.setdefault(result.name, []).append(
            [[100 * rate[key] for key in ("mean", "low", "high")] for rate in rates]
        )
    return {policy: np.mean(seeds, axis=0) for policy, seeds in values.items()}


def _unlocked(rates: dict[str, np.ndarray]) -> list[int]:
    """Achievements that anyone unlocks, the most frequent first."""
    best = np.max([values[:, 0] for values in rates.values()], axis=0)
    return [int(i) for i in np.argsort(-best, kind="stable") if best[i] > 0]


def _one_seed(results: list[Result]) -> bool:
    return len(results) == len({result.name for result in results})
