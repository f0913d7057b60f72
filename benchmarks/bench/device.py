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

# Sides of the matrices and products in a call, and bytes of the array that is read and written. Starting a
# program on a GPU takes as long as a small product there.
SIDE, CHAINED, COPIED = 2048, 1, 2**28
GPU_SIDE, GPU_CHAINED, GPU_COPIED = 8192, 8, 2**31
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
    """FLOP/s of products of square matrices of random numbers of this type, the median of several calls."""
    side, chained = (SIDE, CHAINED) if jax.default_backend() == "cpu" else (GPU_SIDE, GPU_CHAINED)
    x, w = jax.random.normal(jax.random.PRNGKey(0), (2, side, side)).astype(dtype)

    @jax.jit
    def multiply(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        def product(_: int, x: jax.Array) -> jax.Array:
            return x @ w * (1 / side**0.5)  # the numbers stay as large as they were

        x, w = pair
        return jax.lax.fori_loop(0, chained, product, x), w

    return chained * 2.0 * side**3 / _seconds(multiply, (x, w))


def copy_rate() -> float:
    """Bytes/s read and written by adding to a large array, the median of several.

    In place, for the pages of a new array would be made first.
    """
    copied = COPIED if jax.default_backend() == "cpu" else GPU_COPIED
    x = jnp.ones(copied // 4, jnp.float32)
    return 2.0 * x.nbytes / _seconds(jax.jit(lambda x: x + 1.0, donate_argnums=0), x)


def _seconds(function: Callable[[Any], Any], x: Any) -> float:
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
