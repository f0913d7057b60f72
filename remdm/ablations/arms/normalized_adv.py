"""Arm `normalized_adv`: weights in standard deviations from the batch's mean."""

from typing import Any

import jax

from remdm.ablations.advantage import moments, standardised
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch


def weigh(numbers: Numbers, batch: Batch, extra: Any) -> tuple[jax.Array, Any]:
    """(return - mean) / std over the batch's valid windows: the advantage as policy gradients take it.

    So half of the weights are negative, as the arm means them: windows below the mean are made less
    probable. The bound has no least value there, and whether that breaks the planner is what is asked.
    """
    return standardised(batch.returns, *moments(batch.returns, batch.valid)), extra


ARM = Arm(weigh=weigh)
