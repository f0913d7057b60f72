"""Arm `action_diversity`: no windows of one action repeated."""

import jax

from remdm.ablations.advantage import diverse
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch


def keep(numbers: Numbers, batch: Batch) -> jax.Array:
    """Windows whose actions differ."""
    return diverse(batch)


ARM = Arm(keep=keep)
