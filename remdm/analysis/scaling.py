"""How a planner's return grows with its size."""

from pathlib import Path

from matplotlib.axes import Axes

from remdm.analysis.policies import Policy, behind, by_game, read_policies
from remdm.analysis.results import Result, read_results
from remdm.analysis.style import (
    COLOURS,
    LABELS,
    LINES,
    MARKERS,
    WIDTH,
    legend_below,
    new_figure,
    publish,
    say,
)

METHODS = ("offline", "online")


def draw(jobs: list[str], path: Path) -> None:
    """For each game, return against the number of parameters, a line for each method.

    Args:
        jobs: files of the planners' trainings, which record their parameters, and of evaluations.
        path: of the files to write, without suffix.
    """
    results = read_results(jobs)
    trained = [result for result in results if result.stage in METHODS]
    evaluations = [str(result.folder) for result in results if result.stage == "inference"]
    sizes = {_trained(result): int(result.recorded("parameters")) for result in trained}
    policies = [policy for policy in read_policies(evaluations) if (policy.env, policy.name) in sizes]
    games = by_game(policies)
    figure, axes = new_figure(WIDTH / 2 * max(len(games), 1), 2.6, 1, max(len(games), 1))
    for ax, (env, rivals) in zip(axes, games.items(), strict=False):
        found = {policy: sizes[policy.env, policy.name] for policy in rivals}
        _draw(ax, {method: _sorted(found, method) for method in METHODS})
        ax.set_title(env, loc="left")
    legend_below(figure, axes)
    if not games:
        say(axes[0], "No planner of this scale was evaluated.")
    publish(figure, path, caption(policies, sizes))


def caption(policies: list[Policy], sizes: dict[tuple[str, str], int]) -> str:
    """What the figure shows, and how many sizes, seeds and episodes are behind it."""
    if not policies:
        return "No planner of this scale was evaluated."
    trends = {
        (policy.env, policy.role): len(
            {sizes[p.env, p.name] for p in policies if (p.env, p.role) == (policy.env, policy.role)}
        )
        for policy in policies
    }
    single = max(trends.values()) == 1
    return (
        "Mean return of an episode against the planner's parameters. "
        + ("Only one size of each method is in this scale, so no trend can be seen. " if single else "")
        + behind(policies, "mean")
    )


def _trained(result: Result) -> tuple[str, str]:
    """Game and policy: a planner is evaluated under the name `<method>-<preset>`."""
    return result.env, f"{result.stage}-{result.name}"


def _sorted(sizes: dict[Policy, int], method: str) -> list[tuple[int, Policy]]:
    return sorted(
        ((size, policy) for policy, size in sizes.items() if policy.role == method), key=lambda x: x[0]
    )


def _draw(ax: Axes, lines: dict[str, list[tuple[int, Policy]]]) -> None:
    top = 0.0
    for method, points in lines.items():
        if not points:
            continue
        sizes = [size for size, _ in points]
        found = [policy.mean() for _, policy in points]
        ends = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
        means = [each.value for each in found]
        ax.errorbar(
            sizes, means, ends, color=COLOURS[method], marker=MARKERS[method], ls=LINES[method], capsize=2,
            mec="black", mew=0.5, elinewidth=0.8, label=LABELS[method],
        )  # fmt: skip
        top = max(top, *means)
    ax.set_xscale("log")
    ax.set_xlabel("parameters")
    ax.set_ylabel("mean episode return")
    ax.set_ylim(0, 1.25 * top or 1.0)
    if all(len({size for size, _ in points}) <= 1 for points in lines.values()):
        [low, high] = ax.get_xlim()
        ax.set_xlim(low / 3, high * 3)
        ax.text(0.5, 0.04, "one size: no trend can be seen", ha="center", transform=ax.transAxes, fontsize=7)
