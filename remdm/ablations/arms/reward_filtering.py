"""Arm `reward_filtering`: only the best quarter of the windows."""

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch

PERCENTILE = 75.0


def keep(numbers: Numbers, batch: Batch) -> jax.Array:
    """Valid windows whose return is strictly above the percentile of the valid returns [B]."""
    returns = jnp.where(batch.valid, batch.returns, jnp.nan)
    # Without valid windows the percentile is NaN, and no return is above it.
    return batch.valid & (batch.returns > jnp.nanpercentile(returns, PERCENTILE))


ARM = Arm(keep=keep)
