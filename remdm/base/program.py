"""Compilation of functions, and overlap of host and device."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
    """A function, compiled for these arguments with `options` of `jax.jit`; `--no-jit` compiles nothing."""
    jitted = jax.jit(function, **options)
    interpreted = jax.config.jax_disable_jit  # type: ignore[attr-defined]
    return jitted if interpreted else jitted.lower(*arguments).compile()


def one_behind(items: Iterable[T]) -> Iterator[T]:
    """Yield each item after the next is started: the host uses one while the device computes the next."""
    return (item for item, _ in pairwise(chain(items, [None])))  # type: ignore[misc]
