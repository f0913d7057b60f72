"""Arm `low_t`: only low noise, t from [eps, 0.2]."""

from dataclasses import replace

from remdm.ablations.arm import LOW_TIMES, Arm

ARM = Arm(numbers=lambda config, baseline: replace(baseline, first_times=LOW_TIMES, last_times=LOW_TIMES))
