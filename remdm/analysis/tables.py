"""The tables of the paper: each a frame with every digit, and the columns and note for readers."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from remdm.analysis.costs import cost_table
from remdm.analysis.formats import as_frame, with_interval, write_table
from remdm.analysis.policies import (
    MAX_RETURN,
    EvaluatedPolicy,
    behind,
    differences,
    probability_of_improvement,
    read_policies,
    share_of_expert,
)
from remdm.analysis.published import UNITS, published, remark
from remdm.analysis.results import grouped
from remdm.analysis.statistics import iqm, sign_flip
from remdm.base.estimates import episode_interval, estimate


class Table(NamedTuple):
    """A table of policies.

    Attributes:
        columns: those that LaTeX and Markdown show, all if None.
        template: of the note below it; `{behind}` is replaced by the numbers of seeds and episodes,
            `{published}` by the remark on published values.
        of: the statistic that the intervals belong to.
    """

    frame: Callable[[list[EvaluatedPolicy]], pl.DataFrame]
    columns: Sequence[str] | None
    template: str
    of: str

    def note(self, policies: list[EvaluatedPolicy]) -> str:
        """The note below the table."""
        return self.template.format(behind=behind(policies, self.of), published=remark(policies)).strip()


def policy_table(policies: list[EvaluatedPolicy]) -> pl.DataFrame:
    """One row for each game and policy.

    `return_low` and `return_high` are the interval of `estimates.estimate`; `episode_ci_low` and
    `episode_ci_high` that of these trained policies, only over episodes.
    """
    games = grouped(policies, "env").values()
    return as_frame(_policy_row(policy, rivals) for rivals in games for policy in rivals)


def _policy_row(policy: EvaluatedPolicy, rivals: list[EvaluatedPolicy]) -> dict[str, Any]:
    mean, share = policy.mean(), share_of_expert(policy, rivals)
    low, high = episode_interval(*policy.returns)
    reported = next(iter(published(policy)), None)
    return {
        "env": policy.env,
        "policy": policy.label,
        **with_interval("return", mean),
        **with_interval("IQM", estimate(policy.returns, iqm)),
        "percent_of_maximum": 100 * mean.value / MAX_RETURN[policy.env],
        **with_interval("percent_of_expert", share and share.percent),
        **with_interval("achievements", estimate(policy.unlocks)),
        "length": float(np.mean([sample.mean() for sample in policy.lengths])),
        "published": reported and reported.value,
        "published_unit": reported and UNITS[reported.quantity],
        "difference": reported and reported.ours(policy).value - reported.value,
        "seeds": len(policy.results),
        "episodes": policy.episodes,
        "unfinished": sum(result.summary["unfinished"] for result in policy.results),
        "episode_ci_low": float(low),
        "episode_ci_high": float(high),
    }


def published_table(policies: list[EvaluatedPolicy]) -> pl.DataFrame:
    """One row for each published value that is comparable with an evaluated policy."""
    rows = [
        {
            "env": policy.env,
            "policy": policy.label,
            "unit": UNITS[reported.quantity],
            **with_interval("ours", reported.ours(policy)),
            "published": reported.value,
            "difference": reported.ours(policy).value - reported.value,
            "published_frames": reported.frames,
            "source": reported.source,
        }
        for policy in policies
        for reported in published(policy)
    ]
    return as_frame(rows) if rows else pl.DataFrame(schema=list(PUBLISHED_COLUMNS))


def achievement_table(policies: list[EvaluatedPolicy]) -> pl.DataFrame:
    """Per cent of episodes that unlock each achievement: a row for each one, a column for each policy."""
    rows = []
    for env, rivals in grouped(policies, "env").items():
        rates = {policy.label: policy.rates() for policy in rivals}
        for name in rivals[0].achievements:
            row: dict[str, Any] = {"env": env, "achievement": name}
            for label, found in rates.items():
                row |= with_interval(label, found[name].percent)
            rows.append(row)
    return as_frame(rows)


def improvement_table(policies: list[EvaluatedPolicy]) -> pl.DataFrame:
    """One row for each pair of policies: is the first better than the other?

    `difference` and `p` are of the first episodes in the same worlds: whether these trained policies differ.
    `p_seeds` flips the seeds' mean differences: whether the training methods differ, which three seeds cannot
    show, because their floor is 1/4. A `floor` is the smallest attainable p for the number of pairs.
    """
    games = grouped(policies, "env").values()
    return as_frame(_pair_row(policy, other) for rivals in games for policy, other in combinations(rivals, 2))


def _pair_row(policy: EvaluatedPolicy, other: EvaluatedPolicy) -> dict[str, Any]:
    row: dict[str, Any] = {"env": policy.env, "policy": policy.label, "other": other.label}
    row |= with_interval("probability_of_improvement", probability_of_improvement(policy, other))
    paired = differences(policy, other)
    row |= with_interval("difference", estimate(paired) if paired else None)
    p, floor = sign_flip(np.concatenate(paired)) if paired else (None, None)
    row |= {"p": p, "floor": floor}
    p, floor = sign_flip(np.array([sample.mean() for sample in paired])) if len(paired) > 1 else (None, None)
    return row | {"p_seeds": p, "floor_seeds": floor, "worlds": sum(map(len, paired)), "seeds": len(paired)}


PUBLISHED_COLUMNS = (
    "env", "policy", "unit", "ours", "published", "difference", "published_frames", "source",
)  # fmt: skip
TABLES = {
    "policies": Table(
        policy_table,
        ("env", "policy", "return", "IQM", "percent_of_maximum", "percent_of_expert", "achievements",
         "published", "difference", "seeds", "episodes"),
        "Return of an episode, its interquartile mean (IQM), and number of achievements unlocked. {behind} "
        "% of the expert: ratio to the expert's mean return in the same evaluation, seed by seed; with one "
        "seed, episodes of both are resampled. {published}",
        of="mean",
    ),
    "published": Table(
        published_table,
        PUBLISHED_COLUMNS,
        "The difference is this policy's value less the published one. {behind} {published}",
        of="mean",
    ),
    "achievements": Table(
        achievement_table, None, "Per cent of episodes that unlock each achievement. {behind}", of="rate",
    ),
    "improvement": Table(
        improvement_table,
        None,
        "Probability of improvement: that an episode of the first policy has a higher return than one of "
        "the other, ties halved. Difference: of returns of the first episodes in the same worlds; p: of "
        "these trained policies, sign-flip test over pairs of episodes; p seeds: of the training methods, "
        "sign-flip test over seeds. Floor: smallest attainable p at this sample size. p values are not "
        "corrected for the number of rows. {behind}",
        of="difference",
    ),
}  # fmt: skip
COST_COLUMNS = (
    "env", "stage", "name", "seed", "minutes", "compiling_minutes", "cpu_minutes", "frames_per_second",
    "memory_GB", "device",
)  # fmt: skip
COST_NOTE = "Of a run that was interrupted and resumed, only the part after the interruption is measured."


def draw(jobs: list[str], path: Path) -> None:
    """Write the table that a path without suffix names, as CSV, LaTeX and Markdown."""
    if path.name == "costs":
        write_table(cost_table(jobs), path, COST_COLUMNS, COST_NOTE)
    else:
        table, policies = TABLES[path.name], read_policies(jobs)
        write_table(table.frame(policies), path, table.columns, table.note(policies))
