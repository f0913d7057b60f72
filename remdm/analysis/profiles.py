"""Performance profiles: the fraction of episodes with a return of at least x."""

from pathlib import Path

import numpy as np

from remdm.analysis.policies import behind, first_evaluations, read_policies
from remdm.analysis.results import grouped
from remdm.analysis.statistics import profile
from remdm.analysis.style import WIDTH, draw_line, legend_below, looks, new_figure, publish

POINTS = 150


def draw(evaluations: list[str], path: Path) -> None:
    """For each game, the share of episodes with a return of at least x, with pointwise intervals.

    Lines of several ways to play would cover each other, so each policy has one.
    """
    policies = first_evaluations(read_policies(evaluations))
    games = grouped(policies, "env")
    figure, axes = new_figure(WIDTH * (0.6 if len(games) == 1 else 1.0), 3.0, 1, len(games))
    for ax, (env, rivals) in zip(axes, games.items(), strict=True):
        everything = np.concatenate([sample for policy in rivals for sample in policy.returns])
        thresholds = np.linspace(everything.min(), everything.max(), POINTS)
        drawn = looks(policy.name for policy in rivals)
        for policy in rivals:
            mean, low, high = 100 * profile(policy.returns, thresholds)
            draw_line(ax, thresholds, mean, drawn[policy.name], policy.label, 15, (low, high))
        ax.set_title(env, loc="left")
        ax.set_xlabel("return")
        ax.set_ylabel("episodes that return at least this, %")
        ax.set_ylim(0, 102)
    legend_below(figure, axes)
    text = "Performance profiles: share of episodes with a return of at least x."
    publish(figure, path, f"{text} {behind(policies, 'share')}")
