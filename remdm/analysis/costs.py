"""Time and memory of every job, as numbers and as a figure."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from remdm.analysis.formats import as_frame
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.style import LABELS, WIDTH, legend_below, new_figure, publish

STAGES = {
    "ppo": "Expert", "collect": "Collecting", "offline": LABELS["offline"], "online": LABELS["online"],
    "inference": "Evaluation",
}  # fmt: skip
# Parts of a job's time, from dark to light; in grey print the hatches distinguish them.
PARTS = {"running": ("#1d2f6f", ""), "compiling": ("#e0813c", "///"), "rest": ("#d5dbe3", "...")}


def job_cost(result: Result) -> dict[str, str | int | float | None]:
    """The cost of one job: from Snakemake's benchmark file if there is one, else from its own record.

    Of a run that was interrupted and resumed, both measure only the part after the interruption. Studies of a
    planner (`sweep`, `imitation`) do not separate running from compiling, so they have no rate either.
    """
    measured, run = result.benchmark, result.run
    return {
        "env": result.env,
        "stage": result.stage,
        "name": result.name,
        "seed": result.seed,
        "minutes": measured.get("s", result.recorded("wall_seconds")) / 60,
        "running_minutes": run["run_seconds"] / 60 if "run_seconds" in run else None,
        "compiling_minutes": run["compile_seconds"] / 60 if "compile_seconds" in run else None,
        "cpu_minutes": measured["cpu_time"] / 60 if "cpu_time" in measured else None,
        "frames_per_second": float(run["frames_per_second"]) if "frames_per_second" in run else None,
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
    rows = {env: averaged(jobs) for env, jobs in grouped(results, "env").items()}
    height = 0.9 + 0.24 * max(map(len, rows.values()))
    figure, axes = new_figure(WIDTH, height * len(rows) + 0.3, len(rows), 2)
    for time_ax, memory_ax, (env, kinds) in zip(axes[::2], axes[1::2], rows.items(), strict=True):
        y = np.arange(len(kinds))
        left = np.zeros(len(kinds))
        for part, (colour, hatch) in PARTS.items():
            width = kinds[part].to_numpy()
            time_ax.barh(y, width, 0.7, left, color=colour, hatch=hatch, edgecolor="white", lw=0, label=part)
            left += width
        memory_ax.barh(y, kinds["memory_GB"], 0.7, color="#7d8896")
        time_ax.set_yticks(y, kinds["kind"].to_list())
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


def averaged(results: Iterable[Result]) -> pl.DataFrame:
    """A row for each kind of job: the `PARTS` of its time in minutes and its memory, averaged over seeds."""
    running, compiling = (
        pl.col(f"{part}_minutes").cast(pl.Float64).fill_null(0.0) for part in ("running", "compiling")
    )
    kind = pl.format("{}: {}", pl.col("stage").replace(STAGES), "name")
    return (
        as_frame(map(job_cost, results))
        .with_columns(running=running, compiling=compiling, kind=kind)
        .with_columns(rest=(pl.col("minutes") - pl.col("running") - pl.col("compiling")).clip(0.0))
        .group_by("kind", maintain_order=True)
        .agg(pl.col(*PARTS, "memory_GB").mean())
    )
