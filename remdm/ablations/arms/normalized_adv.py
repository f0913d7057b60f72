"""Arm `normalized_adv`: weights in standard deviations from the batch's mean."""

from typing import Any

import jax

from remdm.ablations.advantage import moments, standardised
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch


def weigh(numbers: Numbers, batch: Batch, extra: Any) -> tuple[jax.Array, Any]:
    """(return - mean) / std."""
    return standardised(batch.returns, *moments(batch)), extra


ARM = Arm(weigh=weigh)
