"""Arm `trust_region_kl`: a wall around the pretrained policy."""

import jax

from remdm.ablations.arm import Arm, Sample
from remdm.ablations.penalty import barrier, mean_kl

COEFFICIENT, LIMIT = 1e4, 0.05


def penalty(sample: Sample) -> jax.Array:
    """+ 1e4 max(KL - 0.05, 0)^2."""
    return COEFFICIENT * barrier(mean_kl(sample), LIMIT)


ARM = Arm(penalty=penalty)
