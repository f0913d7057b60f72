"""Arm `ewc`: elastic weight consolidation (arXiv 1612.00796)."""

import jax

from remdm.ablations.arm import Arm, Sample
from remdm.ablations.fisher import fisher_information
from remdm.ablations.penalty import weighted_distance

COEFFICIENT = 100.0


def penalty(sample: Sample) -> jax.Array:
    """+ 100 sum F (theta - theta*)^2."""
    return COEFFICIENT * weighted_distance(sample.params, sample.pretrained, sample.extra)


ARM = Arm(init_extra=fisher_information, penalty=penalty)
