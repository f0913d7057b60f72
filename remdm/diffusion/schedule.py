"""Noise schedules: alpha(t), the probability that a token is still clean at time t."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Schedule(NamedTuple):
    """alpha decreases from alpha(0) = 1 to alpha(1) = 0; both functions are elementwise."""

    alpha: Callable[[jax.Array], jax.Array]
    derivative: Callable[[jax.Array], jax.Array]


SCHEDULES = {
    "linear": Schedule(
        alpha=lambda t: 1.0 - t,
        derivative=lambda t: -jnp.ones_like(t),
    ),
    "cosine": Schedule(
        alpha=lambda t: jnp.cos(0.5 * jnp.pi * t),
        derivative=lambda t: -0.5 * jnp.pi * jnp.sin(0.5 * jnp.pi * t),
    ),
}
