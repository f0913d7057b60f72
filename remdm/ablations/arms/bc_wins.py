"""Arm `bc_wins`: plain behaviour cloning of the windows that were won."""

from dataclasses import replace

from remdm.ablations.arm import Arm, Numbers
from remdm.config.ablations import AblationsConfig


def numbers(config: AblationsConfig, baseline: Numbers) -> Numbers:
    """Weight 1 above the threshold, nothing below."""
    return replace(baseline, weight_range=(1.0, 1.0), return_above=config.ablation_win_threshold)


ARM = Arm(numbers=numbers)
