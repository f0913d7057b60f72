"""Arm `advantage_clip`: weights that hardly differ."""

from dataclasses import replace

from remdm.ablations.arm import Arm, Numbers
from remdm.config.ablations import AblationsConfig

WEIGHT_RANGE = (0.8, 1.2)


def numbers(config: AblationsConfig, baseline: Numbers) -> Numbers:
    """Weights clipped to [0.8, 1.2]."""
    return replace(baseline, weight_range=WEIGHT_RANGE)


ARM = Arm(numbers=numbers)
