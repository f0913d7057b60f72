"""What this machine can do at most, and what it is called."""

import os
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from remdm.base.machine import process_peak_memory

SIDE = 2048  # of the matrices
COPIED = 2**28  # bytes of the array that is read and written
REPEATS = 7


def machine_name() -> str:
    """A name for files: that of the GPU, or of the processor and how many cores this process may use."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return _sanitised(device.device_kind)
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.exists() else None
    model = named[1].lower() if named else "unknown"
    model = re.sub(r"\(\w+\)|@.*|\d+-core|\bprocessor\b|\bcpu\b", " ", model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _sanitised(f"cpu-{model}-{cores}-cores")


def _sanitised(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def matmul_rate(dtype: str) -> float:
    """FLOP/s of a product of two square matrices of this type, the median of several."""
    x = jnp.ones((SIDE, SIDE), dtype)
    return 2.0 * SIDE**3 / _seconds(jax.jit(lambda x: x @ x / SIDE), x)


def copy_rate() -> float:
    """Bytes/s read and written by adding to a large array, the median of several.

    In place, for the pages of a new array would be made first.
    """
    x = jnp.ones(COPIED // 4, jnp.float32)
    return 2.0 * x.nbytes / _seconds(jax.jit(lambda x: x + 1.0, donate_argnums=0), x)


def _seconds(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    x = jax.block_until_ready(function(x))
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        x = jax.block_until_ready(function(x))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def peak_memory() -> dict[str, float | None]:
    """Most memory held so far, in MB: of the process, and of the device where it tells."""
    stats: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    held = stats.get("peak_bytes_in_use")
    return {
        "process_mb": process_peak_memory() / 2**20,
        "device_mb": held / 1e6 if held else None,
    }
