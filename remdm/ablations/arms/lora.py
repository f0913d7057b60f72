"""Arm `lora`: low-rank adapters of the attention kernels (arXiv 2106.09685); the rest is frozen."""

from typing import Any

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import Path, in_attention, segments

RANK, ALPHA = 8, 16.0
STD = 0.02


def input_axes(path: Path) -> int:
    """Axes of a kernel that are its input: `out` takes [heads, width], the others [d_model]."""
    return 2 if path[-2] == "out" else 1


def adapters(key: jax.Array, params: Any, rank: int = RANK) -> dict[str, dict[str, jax.Array]]:
    """Adapters A [input.., rank], Gaussian, and B [rank, output..], zero, by the path of their kernel."""
    drawn = {}
    for path, kernel in jax.tree.leaves_with_path(params):
        path = segments(path)
        if in_attention(path) and path[-1] == "kernel":
            key, draw_key = jax.random.split(key)
            axes = input_axes(path)
            drawn["/".join(path)] = {
                "a": STD * jax.random.normal(draw_key, (*kernel.shape[:axes], rank)),
                "b": jnp.zeros((rank, *kernel.shape[axes:])),
            }
    return drawn


def merge(params: Any, adapters: dict[str, dict[str, jax.Array]], scale: float = ALPHA / RANK) -> Any:
    """Parameters whose adapted kernels are W + scale A B."""

    def adapted(path: tuple, kernel: jax.Array) -> jax.Array:
        adapter = adapters.get("/".join(segments(path)))
        if adapter is None:
            return kernel
        return kernel + scale * jnp.tensordot(adapter["a"], adapter["b"], axes=1)

    return jax.tree.map_with_path(adapted, params)


ARM = Arm(trained=adapters, merged=merge)
