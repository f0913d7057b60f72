"""What every job took, as numbers."""

import polars as pl

from remdm.analysis.results import Result, read_results


def job_cost(result: Result) -> dict[str, str | int | float | None]:
    """What one job took: by Snakemake's benchmark file where there is one, else by its own record.

    Of a run that went on after an interruption, both measure what came after it.
    """
    measured = result.benchmark
    device = result.recorded("device")
    return {
        "env": result.env,
        "stage": result.stage,
        "name": result.name,
        "seed": result.seed,
        "minutes": measured.get("s", result.recorded("wall_seconds")) / 60,
        "running_minutes": result.recorded("run_seconds") / 60,
        "compiling_minutes": result.recorded("compile_seconds") / 60,
        "cpu_minutes": measured["cpu_time"] / 60 if "cpu_time" in measured else None,
        "frames_per_second": float(result.recorded("frames_per_second")),
        "memory_GB": measured.get("max_rss", float(result.recorded("peak_memory_mb"))) / 1024,
        "device": f"{device['count']} × {device['kind']}, {result.recorded('cpus')} CPUs",
        "measured_by": "Snakemake" if measured else "the job",
    }


def cost_table(jobs: list[str]) -> pl.DataFrame:
    """One row for each job."""
    return pl.DataFrame([job_cost(result) for result in read_results(jobs)], infer_schema_length=None)
