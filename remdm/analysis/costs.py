"""What every job took, drawn."""

from pathlib import Path

import numpy as np

from remdm.analysis.jobs import job_cost
from remdm.analysis.results import Result, by_env, read_results
from remdm.analysis.style import LABELS, legend_below, new_figure, publish

STAGES = {"ppo": "Expert", "collect": "Collecting", "offline": LABELS["offline"], "online": LABELS["online"]}
# Parts of a job's time, from dark to light, told apart in grey by hatches.
PARTS = {"running": ("#1d2f6f", ""), "compiling": ("#e0813c", "///"), "rest": ("#d5dbe3", "...")}


def draw(jobs: list[str], path: Path) -> None:
    """For each game and kind of job, time by its parts and peak memory, seeds averaged."""
    games = by_env(read_results(jobs))
    rows = {env: _averaged(results) for env, results in games.items()}
    height = 0.9 + 0.24 * max(len(kinds) for kinds in rows.values())
    figure, axes = new_figure(7.0, height * len(games) + 0.3, len(games), 2)
    for row, (env, kinds) in enumerate(rows.items()):
        time_ax, memory_ax = axes[2 * row], axes[2 * row + 1]
        y = np.arange(len(kinds))
        left = np.zeros(len(kinds))
        for part, (colour, hatch) in PARTS.items():
            width = np.array([kind[part] for kind in kinds.values()])
            time_ax.barh(y, width, 0.7, left, color=colour, hatch=hatch, edgecolor="white", lw=0, label=part)
            left += width
        memory_ax.barh(y, [kind["memory_GB"] for kind in kinds.values()], 0.7, color="#7d8896")
        time_ax.set_yticks(y, list(kinds))
        memory_ax.set_yticks(y, [])
        for ax, title in ((time_ax, "minutes of a job"), (memory_ax, "peak memory of a job, GB")):
            ax.set_ylim(len(kinds) - 0.4, -0.6)
            ax.set_xlabel(title)
            ax.grid(axis="y", visible=False)
        time_ax.set_title(env, loc="left")
    legend_below(figure, axes)
    publish(figure, path, caption(jobs))


def caption(jobs: list[str]) -> str:
    """What the figure shows, and how many jobs are behind it."""
    results = read_results(jobs)
    seeds = len({result.seed for result in results})
    by_snakemake = sum(bool(result.benchmark) for result in results)
    return (
        f"Cost of every stage: {len(results)} jobs, averaged over {seeds} training "
        f"{'seed' if seeds == 1 else 'seeds'}. Times and memory of {by_snakemake} of them are from "
        f"Snakemake's benchmark files, else from the job's own record; rest is starting, loading and saving. "
        f"Where a compiled program was found in the cache, compiling is its loading."
    )


def _averaged(results: list[Result]) -> dict[str, dict[str, float]]:
    """Parts of the time in minutes and memory of each kind of job, seeds averaged."""
    kinds: dict[str, list[dict[str, float]]] = {}
    for result in results:
        cost = job_cost(result)
        running, compiling = float(cost["running_minutes"] or 0), float(cost["compiling_minutes"] or 0)
        rest = max(0.0, float(cost["minutes"] or 0) - running - compiling)
        kind = f"{STAGES.get(result.stage, 'Evaluation')}: {result.name}"
        parts = {
            "running": running,
            "compiling": compiling,
            "rest": rest,
            "memory_GB": float(cost["memory_GB"] or 0),
        }
        kinds.setdefault(kind, []).append(parts)
    return {
        kind: {part: float(np.mean([each[part] for each in seeds])) for part in seeds[0]}
        for kind, seeds in kinds.items()
    }
