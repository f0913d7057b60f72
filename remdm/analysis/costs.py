"""What every job took, as numbers and as a figure."""

from pathlib import Path

import numpy as np
import polars as pl

from remdm.analysis.formats import as_frame
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.style import LABELS, legend_below, new_figure, publish

STAGES = {
    "ppo": "Expert", "collect": "Collecting", "offline": LABELS["offline"], "online": LABELS["online"],
    "inference": "Evaluation",
}  # fmt: skip
# Parts of a job's time, from dark to light, told apart in grey by hatches.
PARTS = {"running": ("#1d2f6f", ""), "compiling": ("#e0813c", "///"), "rest": ("#d5dbe3", "...")}


def job_cost(result: Result) -> dict[str, str | int | float | None]:
    """What one job took: by Snakemake's benchmark file where there is one, else by its own record.

    Of a run that was interrupted and resumed, both measure what came after the interruption. Studies of a
    planner (`sweep`, `imitation`) do not tell running from compiling, so they have no rate either.
    """
    measured, own = result.benchmark, result.run
    return {
        "env": result.env,
        "stage": result.stage,
        "name": result.name,
        "seed": result.seed,
        "minutes": measured.get("s", result.recorded("wall_seconds")) / 60,
        "running_minutes": own["run_seconds"] / 60 if "run_seconds" in own else None,
        "compiling_minutes": own["compile_seconds"] / 60 if "compile_seconds" in own else None,
        "cpu_minutes": measured["cpu_time"] / 60 if "cpu_time" in measured else None,
        "frames_per_second": float(own["frames_per_second"]) if "frames_per_second" in own else None,
        "memory_GB": measured.get("max_rss", float(result.recorded("peak_memory_mb"))) / 1024,
        "device": result.device,
        "measured_by": "Snakemake" if measured else "the job",
    }


def cost_table(jobs: list[str]) -> pl.DataFrame:
    """One row for each job."""
    return as_frame(map(job_cost, read_results(jobs)))


def draw(jobs: list[str], path: Path) -> None:
    """For each game and kind of job, time by its parts and peak memory, seeds averaged."""
    results = read_results(jobs)
    rows = {env: averaged(own) for env, own in grouped(results, "env").items()}
    height = 0.9 + 0.24 * max(len(kinds) for kinds in rows.values())
    figure, axes = new_figure(7.0, height * len(rows) + 0.3, len(rows), 2)
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
    seeds = len({result.seed for result in results})
    by_snakemake = sum(bool(result.benchmark) for result in results)
    caption = (
        f"Cost of every stage: {len(results)} jobs, averaged over {seeds} training "
        f"{'seed' if seeds == 1 else 'seeds'}. Times and memory of {by_snakemake} of them are from "
        f"Snakemake's benchmark files, else from the job's own record; rest is starting, loading and saving. "
        f"Where a compiled program was found in the cache, compiling is its loading."
    )
    publish(figure, path, caption)


def averaged(results: list[Result]) -> dict[str, dict[str, float]]:
    """Parts of the time in minutes and memory of each kind of job, seeds averaged."""
    kinds: dict[str, list[dict[str, float]]] = {}
    for result in results:
        cost = job_cost(result)
        parts = {part: float(cost[f"{part}_minutes"] or 0) for part in ("running", "compiling")}
        parts["rest"] = max(0.0, float(cost["minutes"] or 0) - sum(parts.values()))
        parts["memory_GB"] = float(cost["memory_GB"] or 0)
        kinds.setdefault(f"{STAGES.get(result.stage, result.stage)}: {result.name}", []).append(parts)
    return {
        kind: {part: float(np.mean([each[part] for each in seeds])) for part in seeds[0]}
        for kind, seeds in kinds.items()
    }
