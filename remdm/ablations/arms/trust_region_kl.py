"""Arm `trust_region_kl`: a steep penalty outside a trust region, + 1e4 max(KL - 0.05, 0)^2."""

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Arm
from remdm.ablations.penalty import mean_kl

COEFFICIENT, LIMIT = 1e4, 0.05


def barrier(value: jax.Array, limit: float) -> jax.Array:
    """max(value - limit, 0)^2: zero up to the limit, steep above it; [] -> []."""
    return jnp.maximum(value - limit, 0.0) ** 2


ARM = Arm(penalty=lambda sample: COEFFICIENT * barrier(mean_kl(sample), LIMIT))
