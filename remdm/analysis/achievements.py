"""Who unlocks what."""

from pathlib import Path

import numpy as np

from remdm.analysis.results import Result, read_results
from remdm.analysis.style import colour, label, new_figure, save


def draw_achievements(evaluations: list[str], output: Path) -> None:
    """Share of episodes that unlock each achievement, all policies side by side, most frequent first.

    Rates are means over a policy's seeds; the intervals are those of single evaluations and drawn
    where a policy has one seed. Achievements that nobody unlocks are named below the axes.
    """
    results = read_results(evaluations)
    policies = list(dict.fromkeys(result.name for result in results))
    names = list(results[0].summary["achievements"])
    rates = {policy: _rates([r for r in results if r.name == policy], names) for policy in policies}
    best = np.max([rates[policy][:, 0] for policy in policies], axis=0)
    order = [i for i in np.argsort(-best, kind="stable") if best[i] > 0]

    height = 0.8 / len(policies)
    figure, (ax,) = new_figure(8, 1.2 + (0.08 + 0.1 * len(policies)) * max(len(order), 1))
    for k, policy in enumerate(policies):
        mean, low, high = rates[policy][order].T
        y = np.arange(len(order)) + (k - (len(policies) - 1) / 2) * height
        error = [mean - low, high - mean] if sum(r.name == policy for r in results) == 1 else None
        ax.barh(
            y, mean, height, xerr=error, color=colour(policy), label=label(policy),
            error_kw={"elinewidth": 0.8, "ecolor": "#444444"},
        )  # fmt: skip
    ax.set_yticks(range(len(order)), [names[i].replace("_", " ") for i in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.set_xlabel("episodes that unlock it, %")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", fontsize=8)
    ax.set_title("Achievements")
    never = [names[i].replace("_", " ") for i in range(len(names)) if best[i] == 0]
    if never:
        figure.supxlabel("never: " + _wrapped(never, 95), fontsize=8, color="#666666", x=0.01, ha="left")
    save(figure, output)


def _rates(results: list[Result], names: list[str]) -> np.ndarray:
    """Mean over seeds of rate, low and high in per cent: [A, 3]."""
    values = [
        [
            [100 * result.summary["achievements"][name][key] for key in ("mean", "low", "high")]
            for name in names
        ]
        for result in results
    ]
    return np.asarray(np.mean(values, axis=0))


def _wrapped(words: list[str], width: int) -> str:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + word
    return ",\n".join(lines)
