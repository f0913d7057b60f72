"""Arm `normalized_adv`: weights (return - mean) / std over the batch's valid windows.

This is the advantage of policy gradients. About half of the weights are negative, as intended: windows
below the mean are made less probable. The bound then has no lower limit; the arm tests whether that breaks
the planner.
"""

from remdm.ablations.advantage import moments, standardised
from remdm.ablations.arm import Arm

ARM = Arm(
    weigh=lambda numbers, batch, extra: (
        standardised(batch.returns, *moments(batch.returns, batch.valid)),
        extra,
    )
)
