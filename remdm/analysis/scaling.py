"""How a planner's return grows with its size."""

from pathlib import Path

from matplotlib.axes import Axes

from remdm.analysis.policies import EvaluatedPolicy, behind, read_policies
from remdm.analysis.results import grouped, read_results
from remdm.analysis.style import LABELS, ROLES, WIDTH, legend_below, new_figure, publish, say

METHODS = ("offline", "online")
NONE = "No planner of this scale was evaluated."
Sizes = dict[EvaluatedPolicy, int]  # parameters


def draw(jobs: list[str], path: Path) -> None:
    """For each game, return against the number of parameters, a line for each method.

    Args:
        jobs: files of the planners' trainings, which record their parameters, and of evaluations.
        path: of the files to write, without suffix.
    """
    stages = grouped(read_results(jobs), "stage")
    trained = [result for method in METHODS for result in stages.get(method, [])]
    # A planner is evaluated under the name `<method>-<preset>`.
    sizes = {(r.env, f"{r.stage}-{r.name}"): int(r.recorded("parameters")) for r in trained}
    policies = read_policies([str(result.folder) for result in stages.get("inference", [])])
    found = {p: sizes[p.env, p.name] for p in policies if (p.env, p.name) in sizes}
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
    """What the figure shows, and how many sizes, seeds and episodes are behind it."""
    if not sizes:
        return NONE
    trends = grouped(sizes, "env", "role").values()
    single = all(len({sizes[policy] for policy in policies}) == 1 for policies in trends)
    return (
        "Mean return of an episode against the planner's parameters. "
        + ("Only one size of each method is in this scale, so no trend can be seen. " if single else "")
        + behind(list(sizes), "mean")
    )


def _draw(ax: Axes, sizes: Sizes) -> None:
    lines = grouped(sorted(sizes, key=lambda policy: sizes[policy]), "role")
    top = 0.0
    for method in filter(lines.get, METHODS):
        policies, look = lines[method], ROLES[method]
        found = [policy.mean() for policy in policies]
        means = [each.value for each in found]
        ends = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
        ax.errorbar(
            [sizes[policy] for policy in policies], means, ends, color=look.colour, marker=look.marker,
            ls=look.line, capsize=2, mec="black", mew=0.5, elinewidth=0.8, label=LABELS[method],
        )  # fmt: skip
        top = max(top, *means)
    ax.set_xscale("log")
    ax.set_xlabel("parameters")
    ax.set_ylabel("mean episode return")
    ax.set_ylim(0, 1.25 * top or 1.0)
    if all(len({sizes[policy] for policy in policies}) == 1 for policies in lines.values()):
        [low, high] = ax.get_xlim()
        ax.set_xlim(low / 3, high * 3)
        ax.text(0.5, 0.04, "one size: no trend can be seen", ha="center", transform=ax.transAxes, fontsize=7)
