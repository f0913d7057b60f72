"""The learning curves of expert and planners side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.seeds import bands_of, draw_curve
from remdm.analysis.style import WIDTH, in_millions, label, legend_below, looks, new_figure, publish, say


def draw(trainings: list[str], path: Path) -> None:
    """For each game the expert's return in training, the planners' validation reward and their accuracy.

    The upper row is against frames, the lower against wall time.
    """
    results = read_results(trainings)
    games = grouped(results, "env")
    figure, axes = new_figure(WIDTH, 0.3 + 4.1 * len(games), 2 * len(games), 3)
    for row, (env, runs) in enumerate(games.items()):
        above, below = axes[6 * row : 6 * row + 3], axes[6 * row + 3 : 6 * row + 6]
        _draw_row(above, runs, "frames")
        _draw_row(below, runs, "seconds")
        titles = (f"{env}:\nexpert in training", "planners:\nvalidation", "planners:\nmasked actions")
        for ax, title in zip(above, titles, strict=True):
            ax.set_title(title, loc="left")
    legend_below(figure, axes)
    caption = (
        "Learning curves against frames (above) and against wall time without compilation (below): the "
        "expert's mean episode return in training; the planners' reward in validation rollouts, always of "
        f"the same fresh worlds, and their accuracy on masked actions. {bands_of(results)}"
    )
    publish(figure, path, caption)


def _draw_row(axes: Sequence[Axes], results: list[Result], against: str) -> None:
    """Three panels against frames or seconds."""
    by_stage = grouped(results, "stage")
    experts = grouped(by_stage.get("ppo", []), "policy")
    planners = grouped([*by_stage.get("offline", []), *by_stage.get("online", [])], "policy")
    panels = (
        (axes[0], experts, "env/episode_return", "mean episode return"),
        (axes[1], planners, "val/score", "validation\nreward per environment"),
        (axes[2], planners, "diffusion/accuracy", "accuracy"),
    )
    minutes = against == "seconds"
    for ax, policies, metric, unit in panels:
        for policy, look in looks(policies).items():
            draw_curve(ax, policies[policy], metric, look, label(policy), against, scale=60 if minutes else 1)
        if not ax.lines:
            say(ax, "no expert was trained here" if not policies else "not measured")
            continue
        ax.set_ylabel(unit)
        ax.set_ylim(_limits(ax))
        if minutes:
            ax.set_xlabel("minutes")
        else:
            in_millions(ax)
        ax.set_xlim(left=0)


def _limits(ax: Axes) -> tuple[float, float]:
    """From zero, or the lowest value if it is negative, to a little above the highest value."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
    return low, high + 0.06 * (high - low or 1.0)
