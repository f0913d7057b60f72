"""The results of a scale as a page of Markdown, as far as its jobs have finished."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from remdm.analysis.formats import as_frame, as_markdown, with_interval
from remdm.analysis.gap import gaps, unlearned, ways_to_play
from remdm.analysis.policies import EvaluatedPolicy, behind, differences, read_policies, share_of_expert
from remdm.analysis.results import grouped, read_results
from remdm.base.estimates import estimate


def summary(folders: Sequence[str]) -> str:
    """Returns, differences and what planners do not know, with the commits and the machines behind them.

    Args:
        folders: of finished runs of `inference` and of `imitation`; at least one evaluation.
    """
    results = read_results(list(folders))
    stages = grouped(results, "stage")
    policies = read_policies([str(result.folder) for result in stages["inference"]])
    parts = []
    for rivals in grouped(policies, "env").values():
        parts += [behind(rivals, "mean"), as_markdown(as_frame(_returns(rivals)))]
        parts += ["Of each training seed, the mean return:", as_markdown(as_frame(_by_seed(rivals)))]
        if compared := list(_compared(rivals)):
            parts.append("Differences of return, first episodes compared world by world:")
            parts.append(as_markdown(as_frame(compared)))
    if "imitation" in stages:
        parts.append(
            "What planners do not know, mean over seeds: cross-entropy of the first action with the expert's "
            "distribution less its entropy, in nats, and how often the most probable actions are the same."
        )
        parts.append(as_markdown(unlearned(stages["imitation"])))
    commits, devices = ({getattr(result, name) for result in results} for name in ("commit", "device"))
    parts.append(f"Commits: {', '.join(sorted(commits))}. Devices: {', '.join(sorted(devices))}.")
    return "\n\n".join(part.strip() for part in parts)


def _returns(rivals: list[EvaluatedPolicy]) -> Iterator[dict[str, Any]]:
    """A row for each policy."""
    for policy in rivals:
        share = share_of_expert(policy, rivals)
        frames = policy.results[0].summary["trained_frames"]
        yield {
            "policy": policy.label,
            "million frames": frames and frames / 1e6,
            **with_interval("return", policy.mean()),
            **with_interval("percent_of_expert", share and share.percent),
            **with_interval("achievements", estimate(policy.unlocks)),
            "length": sum(sample.mean() for sample in policy.lengths) / len(policy.lengths),
            "seeds": len(policy.results),
            "episodes": policy.episodes,
        }


def _by_seed(rivals: list[EvaluatedPolicy]) -> Iterator[dict[str, Any]]:
    """A row for each policy, a column for each seed."""
    for policy in rivals:
        seeds = zip(policy.results, policy.returns, strict=True)
        yield {"policy": policy.label} | {
            f"seed {result.seed}": float(sample.mean()) for result, sample in seeds
        }


def _compared(rivals: list[EvaluatedPolicy]) -> Iterator[dict[str, Any]]:
    """A row for each planner and its expert, each way it plays and its first, and each two planners."""
    for found in gaps(rivals):
        yield {"policy": found.policy.label, "returns more": found.what} | with_interval("by", found.returns)
    first = [ways[""] for ways in ways_to_play(rivals).values()]
    planners = [policy for policy in first if policy.role not in ("expert", "random")]
    for other, policy in combinations(planners, 2):
        if paired := differences(policy, other):
            by = estimate(list(paired.values()))
            yield {"policy": policy.label, "returns more": f"than {other.label}"} | with_interval("by", by)
