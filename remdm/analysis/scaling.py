"""How a planner's return grows with its size."""

from pathlib import Path

from matplotlib.axes import Axes

from remdm.analysis.policies import EvaluatedPolicy, behind, evaluated_policies
from remdm.analysis.results import grouped, read_results
from remdm.analysis.style import LABELS, ROLES, WIDTH, draw_estimates, legend_below, new_figure, publish, say

METHODS = ("offline", "online")
NONE = "No planner of this scale was evaluated."
Sizes = dict[EvaluatedPolicy, int]  # parameters


def draw(jobs: list[str], path: Path) -> None:
    """For each game, return against the number of parameters, a line for each method.

    Args:
        jobs: files of the planners' trainings, which record their parameters, and of evaluations.
        path: of the files to write, without suffix.
    """
    results = read_results(jobs)
    sizes = {(r.env, r.policy): int(r.recorded("parameters")) for r in results if r.stage in METHODS}
    found = {p: sizes[p.env, p.name] for p in evaluated_policies(results) if (p.env, p.name) in sizes}
    games = grouped(found, "env")
    figure, axes = new_figure(WIDTH / 2 * max(len(games), 1), 2.6, 1, max(len(games), 1))
    for ax, (env, rivals) in zip(axes, games.items(), strict=False):
        _draw(ax, {policy: found[policy] for policy in rivals})
        ax.set_title(env, loc="left")
    legend_below(figure, axes)
    if not games:
        say(axes[0], NONE)
    publish(figure, path, caption(found))


def caption(sizes: Sizes) -> str:
    """What the figure shows, and how many sizes, seeds and episodes it is drawn from."""
    if not sizes:
        return NONE
    note = "Only one size of each method is in this scale, so no trend can be seen. "
    return (
        "Mean return of an episode against the planner's parameters. "
        f"{note if _has_one_size(sizes) else ''}{behind(list(sizes), 'mean')}"
    )


def _has_one_size(sizes: Sizes) -> bool:
    """Whether the planners of each game and method all have the same number of parameters."""
    trends = grouped(sizes, "env", "role").values()
    return all(len({sizes[policy] for policy in policies}) == 1 for policies in trends)


def _draw(ax: Axes, sizes: Sizes) -> None:
    lines = grouped(sorted(sizes, key=lambda policy: sizes[policy]), "role")
    top = 0.0
    for method in filter(lines.get, METHODS):
        policies, look = lines[method], ROLES[method]
        means = [policy.mean() for policy in policies]
        draw_estimates(ax, [sizes[policy] for policy in policies], means, look, LABELS[method])
        top = max(top, *(mean.value for mean in means))
    ax.set_xscale("log")
    ax.set_xlabel("parameters")
    ax.set_ylabel("mean episode return")
    ax.set_ylim(0, 1.25 * top or 1.0)
    if _has_one_size(sizes):
        [low, high] = ax.get_xlim()
        ax.set_xlim(low / 3, high * 3)
        ax.text(0.5, 0.04, "one size: no trend can be seen", ha="center", transform=ax.transAxes, fontsize=7)
