"""Where a planner loses return against its expert: in what it has learned, or in how it plays."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from remdm.analysis.policies import (
    EvaluatedPolicy,
    behind,
    differences,
    evaluated_policies,
    first_evaluations,
)
from remdm.analysis.results import Result, grouped, read_parquet, read_results
from remdm.analysis.style import GREY, WIDTH, Look, errors_of, legend_below, looks, new_figure, publish, say
from remdm.base.estimates import Estimate, estimate

AS_TRAINED = "than the expert"


class Difference(NamedTuple):
    """How much more a planner returns than its expert, or in one way to play than in its first."""

    policy: EvaluatedPolicy
    what: str
    returns: Estimate


def ways_to_play(policies: list[EvaluatedPolicy]) -> dict[str, dict[str, EvaluatedPolicy]]:
    """The evaluations of each policy by its name and theirs; first the preset's, whose name is ''."""
    found = {policy.name: {"": policy} for policy in first_evaluations(policies)}
    for policy in policies:
        if policy.name not in found:
            first, _, evaluation = policy.name.rpartition("-")
            found[first][evaluation] = policy
    return found


def gaps(rivals: list[EvaluatedPolicy]) -> Iterator[Difference]:
    """What each planner of a game returns beyond the expert, and each further way to play beyond the first.

    First episodes are compared world by world, in seeds that both have.
    """
    played = list(ways_to_play(rivals).values())
    expert = next((ways[""] for ways in played if ways[""].role == "expert"), None)
    for ways in played:
        first = ways.pop("")
        if first.role in ("expert", "random"):
            continue
        pairs = [(AS_TRAINED, first, expert), *((name, other, first) for name, other in ways.items())]
        for what, policy, other in pairs:
            if other is not None and (paired := differences(policy, other)):
                yield Difference(first, what, estimate(paired))


def unlearned(studies: list[Result]) -> pl.DataFrame:
    """The divergence of planners from their expert: a row for each planner and each policy's states.

    `gap` is the cross-entropy of the first action with the expert's distribution less the expert's entropy,
    in nats, and `agreement` how often the most probable actions are the same; means over seeds.
    """
    tables = [
        read_parquet(study.folder / "imitation.parquet")
        .filter(pl.col("by") == "all")
        .select(
            pl.lit(study.env).alias("env"),
            pl.lit(study.name).alias("policy"),
            "states",
            (pl.col("cross_entropy") - pl.col("entropy")).alias("gap"),
            "agreement",
        )
        for study in studies
    ]
    return pl.concat(tables).group_by("env", "policy", "states", maintain_order=True).mean()


def draw(results: list[str], path: Path) -> None:
    """For each game, differences of return with their intervals, and divergences from the expert.

    Args:
        results: files of evaluations, and of runs of `imitation`.
    """
    found = read_results(results)
    policies = evaluated_policies(found)
    unknown = unlearned([result for result in found if result.stage == "imitation"])
    games = grouped(policies, "env")
    figure, axes = new_figure(WIDTH, 3.0 * len(games), len(games), 2)
    for left, right, (env, rivals) in zip(axes[::2], axes[1::2], games.items(), strict=True):
        compared = list(gaps(rivals))
        drawn = looks(found.policy.name for found in compared)
        _draw_differences(left, compared, drawn)
        _draw_unknown(right, unknown.filter(pl.col("env") == env), drawn)
        left.set_title(env, loc="left")
    legend_below(figure, axes)
    publish(figure, path, _caption(policies))


def _draw_differences(ax: Axes, compared: list[Difference], drawn: dict[str, Look]) -> None:
    """A row for each comparison, the planners of it one below the other."""
    rows = list(dict.fromkeys(found.what for found in compared))
    names = list(drawn)
    for found in compared:
        look = drawn[found.policy.name]
        y = rows.index(found.what) + 0.25 * (names.index(found.policy.name) - (len(names) - 1) / 2)
        ax.errorbar(
            found.returns.value, y, xerr=errors_of([found.returns]), fmt=look.marker,
            color=look.colour, mfc=look.fill, mec="black", mew=0.4, ms=5, elinewidth=1, capsize=2,
            label=found.policy.label if found.what == AS_TRAINED else None,
        )  # fmt: skip
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("difference of return")
    if not compared:
        say(ax)


def _draw_unknown(ax: Axes, unknown: pl.DataFrame, drawn: dict[str, Look]) -> None:
    """A bar for each planner and each policy's states."""
    whose = ("expert", "planner")
    for i, (name, look) in enumerate(drawn.items()):
        rows = unknown.filter(pl.col("policy") == name)
        heights = [float(rows.filter(pl.col("states") == states)["gap"].sum()) for states in whose]
        x = np.arange(len(whose)) + 0.8 * (i + 0.5) / len(drawn) - 0.4
        ax.bar(x, heights, 0.7 / len(drawn), color=look.fill, hatch=look.hatch, edgecolor="black", lw=0.4)
    ax.set_xticks(range(len(whose)), [f"states of the {states}" for states in whose])
    ax.set_ylabel("KL from the expert (nats)")
    ax.set_ylim(bottom=0)


def _caption(policies: list[EvaluatedPolicy]) -> str:
    return (
        f"Left: return of a planner as it was trained to play, less the expert's (row “{AS_TRAINED}”); and, "
        "in the rows below, of each further way to play, less that of the first, world by world. Right: KL "
        "divergence of the planner's next action from its expert's: on states that the expert visits "
        "(underfitting, and what a recurrent expert remembers), and on states that the planner visits; the "
        f"difference between them is due to compounding errors. {behind(policies, 'difference')}"
    )
