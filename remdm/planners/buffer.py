"""A circular replay buffer of training windows."""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Buffer:
    """Windows by arrival; the oldest are overwritten once it is full."""

    obs: jax.Array  # [N, D]
    plan: jax.Array  # [N, H], the expert's actions
    valid: jax.Array  # [N]
    next: jax.Array  # [], where the next window goes
    size: jax.Array  # [], windows held

    @property
    def capacity(self) -> int:
        """Windows it can hold, N."""
        return self.valid.shape[0]


def empty_buffer(capacity: int, obs_dim: int, horizon: int) -> Buffer:
    """A buffer that holds nothing yet."""
    zero = jnp.zeros((), jnp.int32)
    return Buffer(
        obs=jnp.zeros((capacity, obs_dim)),
        plan=jnp.zeros((capacity, horizon), jnp.int32),
        valid=jnp.zeros(capacity, bool),
        next=zero,
        size=jnp.zeros((), jnp.int32),
    )


def insert(buffer: Buffer, obs: jax.Array, plan: jax.Array, valid: jax.Array) -> Buffer:
    """Append M windows, M at most the capacity: obs [M, D], plan [M, H], valid [M]."""
    count = valid.shape[0]
    places = (buffer.next + jnp.arange(count)) % buffer.capacity
    return Buffer(
        obs=buffer.obs.at[places].set(obs),
        plan=buffer.plan.at[places].set(plan),
        valid=buffer.valid.at[places].set(valid),
        next=(buffer.next + count) % buffer.capacity,
        size=jnp.minimum(buffer.size + count, buffer.capacity),
    )


def draw_places(key: jax.Array, buffer: Buffer, shape: tuple[int, ...]) -> jax.Array:
    """Places drawn uniformly, with replacement, from those that are filled."""
    return jax.random.randint(key, shape, 0, buffer.size)
