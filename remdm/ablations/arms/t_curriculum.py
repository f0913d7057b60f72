"""Arm `t_curriculum`: from high noise to low."""

from dataclasses import replace

from remdm.ablations.arm import LOW_TIMES, Arm, Numbers
from remdm.config.ablations import AblationsConfig

FIRST_TIMES = (0.8, 1.0)
UPDATES = 200.0


def numbers(config: AblationsConfig, baseline: Numbers) -> Numbers:
    """T from [0.8, 1] at first, from [eps, 0.2] after 200 updates."""
    return replace(baseline, first_times=FIRST_TIMES, last_times=LOW_TIMES, times_updates=UPDATES)


ARM = Arm(numbers=numbers)
