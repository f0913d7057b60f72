"""Arm `running_stats`: standardised returns as weights, with moments averaged over updates."""

import jax
import jax.numpy as jnp
from flax import struct

from remdm.ablations.advantage import moments, standardised
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch

DECAY = 0.99


@struct.dataclass
class RunningStats:
    """Exponential averages of a batch's mean and standard deviation, from 0 and 1."""

    mean: jax.Array  # []
    std: jax.Array  # []

    def updated(self, x: jax.Array, valid: jax.Array) -> "RunningStats":
        """The averages after x [B] of another batch; a batch without valid windows changes nothing."""
        mean, std = moments(x, valid)
        share = jnp.where(jnp.any(valid), 1.0 - DECAY, 0.0)
        return RunningStats(self.mean + share * (mean - self.mean), self.std + share * (std - self.std))


def weigh(numbers: Numbers, batch: Batch, stats: RunningStats) -> tuple[jax.Array, RunningStats]:
    """Weights [B]: 1 + (max(return, 0) - mean) / std, of averages that include this batch, clipped.

    The clip keeps weights positive, because a negative weight would increase the bound without limit.
    """
    gain = jnp.maximum(batch.returns, 0.0)
    stats = stats.updated(gain, batch.valid)
    return jnp.clip(1.0 + standardised(gain, stats.mean, stats.std), *numbers.weight_range), stats


ARM = Arm(init_extra=lambda problem, key, pretrained: RunningStats(jnp.zeros(()), jnp.ones(())), weigh=weigh)
