"""DAgger in training: share of the expert's actions, fill of the buffer, agreement with the expert."""

from pathlib import Path

from remdm.analysis.results import grouped, read_results
from remdm.analysis.seeds import bands_of, draw_curve
from remdm.analysis.style import WIDTH, in_millions, label, legend_below, looks, new_figure, publish, say

NONE = "No planner of this scale is trained by DAgger."
PANELS = {
    "dagger/beta": "share of the expert's actions, beta",
    "dagger/buffer_fill": "share of the buffer filled",
    "dagger/agreement": "agreement with the expert",
}


def draw(trainings: list[str], path: Path) -> None:
    """For each game beta, the buffer's fill and the agreement with the expert over frames.

    Without trainings by DAgger, the figure contains a note on that.
    """
    results = read_results(trainings)
    games = grouped(results, "env")
    figure, axes = new_figure(WIDTH, 0.3 + 2.2 * max(len(games), 1), max(len(games), 1), len(PANELS))
    for row, (env, runs) in enumerate(games.items()):
        policies, panels = grouped(runs, "policy"), axes[row * len(PANELS) : (row + 1) * len(PANELS)]
        for ax, (metric, unit) in zip(panels, PANELS.items(), strict=True):
            for policy, look in looks(policies).items():
                draw_curve(ax, policies[policy], metric, look, label(policy))
            ax.set_ylabel(unit)
            ax.set_ylim(0, 1.03)
            in_millions(ax)
            ax.set_xlim(left=0)
        panels[0].set_title(env, loc="left")
    legend_below(figure, axes)
    if not games:
        for ax in axes:
            say(ax, NONE)
    caption = (
        "DAgger in training: share of the expert's actions, share of the replay buffer that is filled, and "
        f"how often the planner's action is the expert's. {bands_of(results)}"
    )
    publish(figure, path, caption if games else NONE)
