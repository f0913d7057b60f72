"""Weights that replace the baseline's, and filters of windows."""

import jax
import jax.numpy as jnp
from flax import struct

from remdm.ablations.problem import Batch
from remdm.planners.window import valid_mean

EPSILON = 1e-8


def moments(x: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of x [B] over valid windows; 0 where there are none."""
    mean = valid_mean(x, valid)
    return mean, jnp.sqrt(valid_mean((x - mean) ** 2, valid))


def standardised(x: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Values [B] in standard deviations from a mean."""
    return (x - mean) / (std + EPSILON)


@struct.dataclass
class RunningStats:
    """Exponential averages of a batch's mean and standard deviation, from 0 and 1."""

    mean: jax.Array  # []
    std: jax.Array  # []

    @classmethod
    def fresh(cls) -> "RunningStats":
        """Before the first batch."""
        return cls(jnp.zeros(()), jnp.ones(()))

    def updated(self, x: jax.Array, valid: jax.Array, decay: float) -> "RunningStats":
        """With x [B] of another batch; one without a valid window changes nothing."""
        mean, std = moments(x, valid)
        share = jnp.where(jnp.any(valid), 1.0 - decay, 0.0)
        return RunningStats(self.mean + share * (mean - self.mean), self.std + share * (std - self.std))


def above_percentile(batch: Batch, percentile: float) -> jax.Array:
    """Valid windows whose return is strictly above a percentile of the valid returns [B]."""
    returns = jnp.where(batch.valid, batch.returns, jnp.nan)
    # Of no valid window the percentile is NaN, above which nothing is.
    return batch.valid & (batch.returns > jnp.nanpercentile(returns, percentile))


def diverse(batch: Batch) -> jax.Array:
    """Windows whose actions are not all the same [B]."""
    return jnp.any(batch.plan != batch.plan[:, :1], axis=1)
