"""Arm `reward_filtering`: only the best quarter of the windows."""

import jax

from remdm.ablations.advantage import above_percentile
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch

PERCENTILE = 75.0


def keep(numbers: Numbers, batch: Batch) -> jax.Array:
    """Returns strictly above the 75th percentile of the valid ones."""
    return above_percentile(batch, PERCENTILE)


ARM = Arm(keep=keep)
