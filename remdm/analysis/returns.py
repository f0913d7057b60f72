"""Return and achievements of every policy, with published values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from remdm.analysis.policies import MAX_RETURN, EvaluatedPolicy, behind, read_policies
from remdm.analysis.published import published, remark
from remdm.analysis.results import grouped
from remdm.analysis.statistics import iqm
from remdm.analysis.style import WIDTH, errors_of, looks, new_figure, publish
from remdm.base.estimates import Samples, estimate


def draw(evaluations: list[str], path: Path) -> None:
    """For each game, return and number of achievements of every policy: mean, interval, each seed's mean.

    Policies are drawn in the order they come.
    """
    policies = read_policies(evaluations)
    games = grouped(policies, "env")
    height = 1.1 + 0.3 * max(map(len, games.values()))
    figure, axes = new_figure(WIDTH, height * len(games), len(games), 2)
    for left, right, (env, rivals) in zip(axes[::2], axes[1::2], games.items(), strict=True):
        _draw(left, rivals, lambda policy: policy.returns, "return")
        _draw(right, rivals, lambda policy: policy.unlocks, "achievements")
        left.set_yticks(range(len(rivals)), [policy.label.replace(" (", "\n(") for policy in rivals])
        right.set_yticks(range(len(rivals)), [])
        left.set_xlabel("return of an episode")
        right.set_xlabel(f"achievements of an episode, of {len(rivals[0].achievements)}")
        left.set_title(env, loc="left")
        share = left.secondary_xaxis("top", (_scaled(100 / MAX_RETURN[env]), _scaled(MAX_RETURN[env] / 100)))
        share.set_xlabel(f"% of the maximum return, {MAX_RETURN[env]}", fontsize=7)
        share.tick_params(labelsize=7)
    publish(figure, path, caption(policies))


def caption(policies: list[EvaluatedPolicy]) -> str:
    """What the figure shows, and how many seeds and episodes it is drawn from."""
    parts = [
        "Return and achievements of an episode: mean with its 95 % interval, and below it the interquartile "
        "mean of the return (tick)."
    ]
    if any(len(policy.results) > 1 for policy in policies):
        parts.append("Dots are the seeds' means.")
    if said := remark(policies):
        parts.append(f"Open diamonds are published values. {said}")
    return " ".join([*parts, behind(policies, "mean")])


def _draw(
    ax: Axes, policies: list[EvaluatedPolicy], samples: Callable[[EvaluatedPolicy], Samples], quantity: str
) -> None:
    """A row for each policy; `quantity` is the published one that the axis shows."""
    drawn = looks(policy.name for policy in policies)
    reach = 0.0
    for y, policy in enumerate(policies):
        look, sample = drawn[policy.name], samples(policy)
        interval, means = estimate(sample), [seed.mean() for seed in sample]
        reach = max(reach, interval.value, *means)
        ax.plot(interval.value, y, look.marker, color=look.colour, mec="black", mew=0.4, ms=5.5)
        ax.errorbar(
            interval.value, y, xerr=errors_of([interval]), color="black", elinewidth=0.9, capsize=2.5,
            capthick=0.9, zorder=5,
        )  # fmt: skip
        if len(means) > 1:
            ax.plot(means, [y + 0.24] * len(means), ".", color="#444444", ms=3)
        if quantity == "return":
            ax.plot(estimate(sample, iqm).value, y + 0.24, "|", color="black", ms=5, mew=1.2)
        ax.annotate(
            f"{interval.value:.2f}", (interval.value, y), (0, 5), textcoords="offset points", ha="center",
            fontsize=7,
        )  # fmt: skip
        for other in published(policy):
            if other.quantity == quantity:
                reach = max(reach, other.value)
                ax.plot(other.value, y, "D", mfc="white", mec="black", mew=0.8, ms=4.5, zorder=3)
    # An interval of two seeds may be far wider than all values: it may extend beyond the axes.
    ax.set_xlim(0, 1.12 * reach)
    ax.set_ylim(len(policies) - 0.5, -0.75)
    ax.grid(axis="y", visible=False)


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda values: values * factor
