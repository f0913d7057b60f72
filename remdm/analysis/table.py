"""The main table: every policy's return beside what was published."""

from pathlib import Path

import numpy as np
import polars as pl

from remdm.analysis.results import Result, read_results
from remdm.analysis.style import label, role
from remdm.config.files import whole_file

MAX_RETURN = {"Craftax-Classic-Symbolic-v1": 22, "Craftax-Symbolic-v1": 226}

# Published at 1e9 (expert) and 1e8 (planners) frames; Classic in achievements of 22, full Craftax as a
# share of the maximum return. Craftax: arXiv 2402.16801.
PUBLISHED = {
    ("Craftax-Classic-Symbolic-v1", "expert"): "about 19 of 22 achievements",
    ("Craftax-Classic-Symbolic-v1", "offline"): "about 14-15 of 22",
    ("Craftax-Classic-Symbolic-v1", "online"): "about 12-13 of 22",
    ("Craftax-Symbolic-v1", "expert"): "15 % of the maximum",
    ("Craftax-Symbolic-v1", "offline"): "10.7 % of the maximum",
    ("Craftax-Symbolic-v1", "online"): "8.8 % of the maximum",
}


def policy_table(evaluations: list[str]) -> pl.DataFrame:
    """One row for each game and policy, seeds averaged.

    `low` and `high` are the 95 % bootstrap interval over episodes where there is one seed, and the
    smallest and largest mean of a seed where there are several.
    """
    results = read_results(evaluations)
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.env, result.name), []).append(result)
    expert = {env: _mean(runs) for (env, name), runs in groups.items() if role(name) == "expert"}
    return pl.DataFrame([_row(env, name, runs, expert.get(env)) for (env, name), runs in groups.items()])


def write_table(evaluations: list[str], output: Path) -> None:
    """Write the table as CSV."""
    with whole_file(output) as partial:
        policy_table(evaluations).write_csv(partial, float_precision=3)


def _mean(runs: list[Result]) -> float:
    return float(np.mean([run.summary["return"]["mean"] for run in runs]))


def _row(
    env: str, name: str, runs: list[Result], expert: float | None
) -> dict[str, str | float | int | None]:
    returns = [run.summary["return"] for run in runs]
    means = [r["mean"] for r in returns]
    low, high = (returns[0]["low"], returns[0]["high"]) if len(runs) == 1 else (min(means), max(means))
    mean = _mean(runs)
    return {
        "env": env,
        "policy": label(name),
        "return": mean,
        "low": low,
        "high": high,
        "share_of_expert": mean / expert if expert else None,
        "share_of_maximum": mean / MAX_RETURN[env],
        "achievements": float(np.mean([run.summary["achievements_per_episode"]["mean"] for run in runs])),
        "length": float(np.mean([run.summary["length"]["mean"] for run in runs])),
        "episodes": sum(run.summary["episodes"] for run in runs),
        "seeds": len(runs),
        "published": PUBLISHED.get((env, role(name))),
    }
