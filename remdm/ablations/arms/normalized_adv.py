"""Arm `normalized_adv`: weights (return - mean) / std over the batch's valid windows.

It is the advantage as policy gradients take it. So half of the weights are negative, as the arm means them:
windows below the mean are made less probable. The bound has no least value there, and whether that breaks
the planner is what is asked.
"""

from remdm.ablations.advantage import moments, standardised
from remdm.ablations.arm import Arm

ARM = Arm(
    weigh=lambda numbers, batch, extra: (
        standardised(batch.returns, *moments(batch.returns, batch.valid)),
        extra,
    )
)
