"""The results of a scale's finished jobs as a page of Markdown."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import polars as pl

from remdm.analysis.formats import as_frame, as_markdown, with_interval
from remdm.analysis.gap import gaps, unlearned
from remdm.analysis.policies import (
    EvaluatedPolicy,
    behind,
    differences,
    evaluated_policies,
    first_evaluations,
)
from remdm.analysis.results import grouped, read_results
from remdm.analysis.tables import policy_table
from remdm.base.estimates import estimate

COLUMNS = (
    "policy", "million frames", "return", "percent_of_expert", "achievements", "length", "seeds", "episodes",
)  # fmt: skip


def summary(folders: Sequence[str]) -> str:
    """Returns, differences and divergences from the expert, with the commits and machines they come from.

    Args:
        folders: of finished runs of `inference` and of `imitation`; at least one evaluation.
    """
    results = read_results(list(folders))
    parts = []
    for rivals in grouped(evaluated_policies(results), "env").values():
        parts += [behind(rivals, "mean"), as_markdown(_returns(rivals), COLUMNS)]
        parts += ["Of each training seed, the mean return:", as_markdown(as_frame(_by_seed(rivals)))]
        if compared := list(_compared(rivals)):
            parts.append("Differences of return, first episodes compared world by world:")
            parts.append(as_markdown(as_frame(compared)))
    if studies := [result for result in results if result.stage == "imitation"]:
        parts.append(
            "What planners do not know, mean over seeds: cross-entropy of the first action with the expert's "
            "distribution less its entropy, in nats, and how often the most probable actions are the same."
        )
        parts.append(as_markdown(unlearned(studies)))
    commits, devices = ({getattr(result, name) for result in results} for name in ("commit", "device"))
    parts.append(f"Commits: {', '.join(sorted(commits))}. Devices: {', '.join(sorted(devices))}.")
    return "\n\n".join(part.strip() for part in parts)


def _returns(rivals: list[EvaluatedPolicy]) -> pl.DataFrame:
    """A row for each policy."""
    frames = [policy.results[0].summary["trained_frames"] for policy in rivals]
    millions = pl.Series("million frames", frames, pl.Float64) / 1e6
    return policy_table(rivals).with_columns(millions)


def _by_seed(rivals: list[EvaluatedPolicy]) -> Iterator[dict[str, Any]]:
    """A row for each policy, a column for each seed."""
    for policy in rivals:
        seeds = zip(policy.results, policy.returns, strict=True)
        yield {"policy": policy.label} | {
            f"seed {result.seed}": float(sample.mean()) for result, sample in seeds
        }


def _compared(rivals: list[EvaluatedPolicy]) -> Iterator[dict[str, Any]]:
    """Rows on planners and their expert, on further ways to play and the first, and on pairs of planners."""
    for found in gaps(rivals):
        yield {"policy": found.policy.label, "returns more": found.what} | with_interval("by", found.returns)
    planners = [policy for policy in first_evaluations(rivals) if policy.role not in ("expert", "random")]
    for other, policy in combinations(planners, 2):
        if paired := differences(policy, other):
            row = {"policy": policy.label, "returns more": f"than {other.label}"}
            yield row | with_interval("by", estimate(paired))
