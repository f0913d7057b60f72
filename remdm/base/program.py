"""Functions as programs."""

from collections.abc import Callable
from typing import Any

import jax


def compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
    """A function, compiled for these arguments with `options` of `jax.jit`; `--no-jit` compiles nothing."""
    jitted = jax.jit(function, **options)
    interpreted = jax.config.jax_disable_jit  # type: ignore[attr-defined]
    return jitted if interpreted else jitted.lower(*arguments).compile()
