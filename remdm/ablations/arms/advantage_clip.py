"""Arm `advantage_clip`: almost equal weights, clipped to [0.8, 1.2]."""

from dataclasses import replace

from remdm.ablations.arm import Arm

WEIGHT_RANGE = (0.8, 1.2)

ARM = Arm(numbers=lambda config, baseline: replace(baseline, weight_range=WEIGHT_RANGE))
