"""One measurement: a case timed, with its cost, its share of what the device can do, and where it was."""

import json
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import jax

from benchmarks.bench.cases import Case
from benchmarks.bench.catalogue import CASES, Request
from benchmarks.bench.device import copy_rate, machine_name, matmul_rate, peak_memory
from benchmarks.bench.program import Program, products
from remdm.base.clone import git_commit

Row = dict[str, Any]
COST = (
    "flops", "flops_exact", "bytes", "bytes_exact", "xla_flops", "xla_bytes", "temp_mb", "argument_mb",
    "dtype", "flops_per_second", "matmul_flops_per_second", "flops_share", "bytes_per_second",
    "copy_bytes_per_second", "bytes_share",
)  # fmt: skip


def measure(request: Request, case: Case) -> Row:
    """The row of one case; rates are those of its median."""
    for _ in range(case.warm_up):
        case.call()
    seconds = []
    for _ in range(request.repeats):
        began = time.perf_counter()
        case.call()
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    memory = peak_memory()  # before the device's own rates are measured
    settings = request.settings()
    return {
        "case": request.case,
        "varied": request.varied,
        "value": settings[request.varied] if request.varied else None,
        "unit": CASES[request.case].unit,
        "work": float(case.work),
        "compile_seconds": case.compile_seconds,
        "seconds": median,
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "seconds_each": seconds,
        "rate": case.work / median,
        **cost(case, median),
        **memory,
        "machine": machine_name(),
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "jax": jax.__version__,
        "commit": git_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "preset": request.preset,
        "settings": json.dumps(settings),
    }


def cost(case: Case, seconds: float) -> Row:
    """Operations, bytes and memory of a call; null where nothing is compiled.

    `flops` and `bytes` count loops as often as they are known to run (`program.py`), `xla_flops` and
    `xla_bytes` count their bodies once, as XLA does. Bytes that are found in a cache count too, so that
    more can be read than the memory gives.
    """
    row: Row = dict.fromkeys(COST)
    if case.program is None:
        return row
    row["flops"], row["flops_exact"] = products(case.traced.jaxpr)
    program = Program(case.program.as_text() or "")
    row["bytes"], row["bytes_exact"] = program.bytes_accessed(), program.is_exact
    analysis: dict[str, float] = case.program.cost_analysis() or {}
    row["xla_flops"], row["xla_bytes"] = analysis.get("flops"), analysis.get("bytes accessed")
    held = case.program.memory_analysis()
    if held is not None:
        row["temp_mb"], row["argument_mb"] = held.temp_size_in_bytes / 1e6, held.argument_size_in_bytes / 1e6
    # CPUs multiply in bfloat16 by way of float32.
    row["dtype"] = case.dtype if jax.default_backend() != "cpu" else "float32"
    row["flops_per_second"], row["bytes_per_second"] = row["flops"] / seconds, row["bytes"] / seconds
    row["matmul_flops_per_second"], row["copy_bytes_per_second"] = matmul_rate(row["dtype"]), copy_rate()
    row["flops_share"] = row["flops_per_second"] / row["matmul_flops_per_second"]
    row["bytes_share"] = row["bytes_per_second"] / row["copy_bytes_per_second"]
    return row
