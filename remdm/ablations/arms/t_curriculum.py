"""Arm `t_curriculum`: from high to low noise, t from [0.8, 1] at first and [eps, 0.2] after 200 updates."""

from dataclasses import replace

from remdm.ablations.arm import LOW_TIMES, Arm

FIRST_TIMES = (0.8, 1.0)
UPDATES = 200.0

ARM = Arm(
    numbers=lambda config, baseline: replace(
        baseline, first_times=FIRST_TIMES, last_times=LOW_TIMES, times_updates=UPDATES
    )
)
