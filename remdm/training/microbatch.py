"""Gradients of minibatches whose activations do not fit at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

CACHED_TOKENS = 4096  # whose activations a CPU's caches hold


def microbatch_size(given: int | None, count: int, sample_tokens: int) -> int:
    """Samples of `count` that pass the network at once, in equal parts; null is what suits the device."""
    if given is None:
        # On CPUs, activations that stay in the caches are worth a third of the time.
        given = max(1, CACHED_TOKENS // sample_tokens) if jax.default_backend() == "cpu" else count
    return -(-count // -(-count // given))


def microbatched_grad(
    loss: Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]],
    params: Any,
    parts: int,
    size: int,
    needed: jax.Array,
) -> tuple[Any, Any]:
    """The gradient of a sum over samples, of which a part is computed at a time.

    Args:
        loss: (parameters, numbers of the samples of a part [size], the part's number) -> the sum of their
            losses, and what is wanted of each, arrays [size, ...].
        parts: how often `size` samples are taken.
        needed: samples that count; the rest come last, and parts of nothing else are left out (but under
            `vmap`: there they are computed).

    Returns:
        The gradient, and what is wanted of each sample, arrays [parts * size, ...]; zero where left out.
    """

    def gradient(part: jax.Array) -> tuple[Any, Any]:
        return jax.grad(loss, has_aux=True)(params, part * size + jnp.arange(size), part)

    if parts == 1:
        return gradient(jnp.zeros((), jnp.int32))
    first_left_out = -(-needed // size)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, needed))

    def add(grads: Any, part: jax.Array) -> tuple[Any, Any]:
        own, aux = jax.lax.cond(part < first_left_out, gradient, lambda _: zero, part)
        return jax.tree.map(jnp.add, grads, own), aux

    grads, aux = jax.lax.scan(add, zero[0], jnp.arange(parts))
    return grads, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), aux)
