"""Arm `entropy_bonus`: a reward for undecided predictions."""

import jax

from remdm.ablations.arm import Arm, Sample
from remdm.ablations.penalty import mean_entropy

COEFFICIENT = 0.01


def penalty(sample: Sample) -> jax.Array:
    """- 0.01 mean entropy."""
    return -COEFFICIENT * mean_entropy(sample)


ARM = Arm(penalty=penalty)
