"""Arm `low_t`: low noise alone."""

from dataclasses import replace

from remdm.ablations.arm import LOW_TIMES, Arm, Numbers
from remdm.config.ablations import AblationsConfig


def numbers(config: AblationsConfig, baseline: Numbers) -> Numbers:
    """T from [eps, 0.2]."""
    return replace(baseline, first_times=LOW_TIMES, last_times=LOW_TIMES)


ARM = Arm(numbers=numbers)
