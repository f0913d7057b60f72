"""Arm `kl_penalty`: a penalty on the divergence from the pretrained policy."""

import jax

from remdm.ablations.arm import Arm, Sample
from remdm.ablations.penalty import mean_kl

COEFFICIENT = 0.1


def penalty(sample: Sample) -> jax.Array:
    """+ 0.1 KL(current || pretrained)."""
    return COEFFICIENT * mean_kl(sample)


ARM = Arm(penalty=penalty)
