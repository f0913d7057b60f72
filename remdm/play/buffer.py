"""A circular buffer of arrays with a common leading axis; the oldest items are overwritten first."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.envs.devices import num_shards
from remdm.envs.wrappers import put


@struct.dataclass
class CircularBuffer:
    """Items in order of insertion; the oldest are overwritten once it is full."""

    items: Any  # a pytree of arrays [N, ...]; on several devices, with rows at the end that are never used
    next: jax.Array  # [], where the next item goes
    size: jax.Array  # [], items held
    capacity: int = struct.field(pytree_node=False)  # items it can hold, N


def empty(capacity: int, like: Any) -> CircularBuffer:
    """An empty buffer.

    Args:
        like: one item, of which only shapes and types are used.
    """
    rows = -(-capacity // num_shards()) * num_shards()  # as many on each device
    return CircularBuffer(
        items=jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), like),
        next=jnp.zeros((), jnp.int32),
        size=jnp.zeros((), jnp.int32),
        capacity=capacity,
    )


def insert(buffer: CircularBuffer, items: Any) -> CircularBuffer:
    """Append M items, arrays [M, ...].

    The buffer may have been saved full with a smaller capacity, so that its next index was the first.

    Raises:
        ValueError: M is larger than the capacity.
    """
    count = jax.tree.leaves(items)[0].shape[0]
    if count > buffer.capacity:
        raise ValueError(f"{count} items at once into a buffer of {buffer.capacity}")
    first = jnp.where(buffer.size < buffer.capacity, buffer.size, buffer.next)
    indices = (first + jnp.arange(count)) % buffer.capacity
    return replace(
        buffer,
        items=jax.tree.map(lambda held, new: put(held, indices, new), buffer.items, items),
        next=(first + count) % buffer.capacity,
        size=jnp.minimum(buffer.size + count, buffer.capacity),
    )


def draw_places(key: jax.Array, buffer: CircularBuffer, shape: tuple[int, ...]) -> jax.Array:
    """Indices [*shape] drawn uniformly, with replacement, from the filled part."""
    return jax.random.randint(key, shape, 0, buffer.size)
