"""Standardised values over valid windows."""

import jax
import jax.numpy as jnp

from remdm.planners.window import valid_mean

EPSILON = 1e-8


def moments(x: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of x [B] over valid windows; 0 if there are none."""
    mean = valid_mean(x, valid)
    return mean, jnp.sqrt(valid_mean((x - mean) ** 2, valid))


def standardised(x: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Values [B] in standard deviations from a mean."""
    return (x - mean) / (std + EPSILON)
