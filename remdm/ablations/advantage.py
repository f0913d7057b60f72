"""Weights that replace the baseline's, and filters of windows."""

import jax
import jax.numpy as jnp
from flax import struct

from remdm.ablations.problem import Batch

EPSILON = 1e-8


def moments(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of the returns of valid windows; 0 where there are none."""
    count = jnp.maximum(jnp.sum(batch.valid), 1)
    mean = jnp.sum(batch.returns * batch.valid) / count
    variance = jnp.sum((batch.returns - mean) ** 2 * batch.valid) / count
    return mean, jnp.sqrt(variance)


def standardised(returns: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Returns [B] in standard deviations from a mean."""
    return (returns - mean) / (std + EPSILON)


@struct.dataclass
class RunningStats:
    """Exponential averages of a batch's mean and standard deviation."""

    mean: jax.Array  # []
    std: jax.Array  # []
    seen: jax.Array  # [], whether any batch has been

    @classmethod
    def fresh(cls) -> "RunningStats":
        """Before the first batch."""
        return cls(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), bool))

    def updated(self, batch: Batch, decay: float) -> "RunningStats":
        """With another batch; the first counts whole, and one without a valid window not at all."""
        mean, std = moments(batch)
        some = jnp.any(batch.valid)
        share = jnp.where(some, jnp.where(self.seen, 1.0 - decay, 1.0), 0.0)
        return RunningStats(
            self.mean + share * (mean - self.mean), self.std + share * (std - self.std), self.seen | some
        )


def above_percentile(batch: Batch, percentile: float) -> jax.Array:
    """Valid windows whose return is strictly above a percentile of the valid returns [B]."""
    returns = jnp.where(batch.valid, batch.returns, jnp.nan)
    # Of no valid window the percentile is NaN, above which nothing is.
    return batch.valid & (batch.returns > jnp.nanpercentile(returns, percentile))


def diverse(batch: Batch) -> jax.Array:
    """Windows whose actions are not all the same [B]."""
    return jnp.any(batch.plan != batch.plan[:, :1], axis=1)
