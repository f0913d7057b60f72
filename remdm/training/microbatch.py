"""Gradients of minibatches whose activations do not fit into memory at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def even_size(count: int, largest: int | None) -> int:
    """Samples of `count` in each of equal parts of at most `largest`; None makes one part."""
    return count if largest is None else -(-count // -(-count // largest))


def microbatched_grad(
    loss: Callable[[Any, Any, jax.Array, jax.Array], tuple[jax.Array, Any]],
    params: Any,
    samples: Any,
    counted: jax.Array,
    largest: int | None,
) -> tuple[Any, Any]:
    """The gradient of a sum over samples, computed part by part.

    Args:
        loss: (parameters, a part of the samples [size, ...], which of them count [size], the part's number)
            -> the sum of their losses, and auxiliary arrays [size, ...].
        samples: a pytree of arrays [B, ...].
        counted: how many samples count; they come first. Parts in which none counts are skipped, except
            under `vmap`.
        largest: most samples in a part; None means all.

    Returns:
        The gradient, and the auxiliary arrays [B, ...]; zero for skipped parts.
    """
    count = jax.tree.leaves(samples)[0].shape[0]
    size = even_size(count, largest)
    parts = -(-count // size)

    def gradient(part: jax.Array) -> tuple[Any, Any]:
        indices = part * size + jnp.arange(size)
        # The last part is filled with copies of the last sample, which do not count.
        microbatch = jax.tree.map(lambda x: x[jnp.minimum(indices, count - 1)], samples)
        return jax.grad(loss, has_aux=True)(params, microbatch, indices < counted, part)

    if parts == 1:
        return gradient(jnp.zeros((), jnp.int32))
    first_left_out = -(-counted // size)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, counted))

    def add(grads: Any, part: jax.Array) -> tuple[Any, Any]:
        its_grads, aux = jax.lax.cond(part < first_left_out, gradient, lambda _: zero, part)
        return jax.tree.map(jnp.add, grads, its_grads), aux

    grads, aux = jax.lax.scan(add, zero[0], jnp.arange(parts))
    return grads, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], aux)
