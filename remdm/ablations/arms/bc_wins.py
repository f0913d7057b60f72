"""Arm `bc_wins`: plain behaviour cloning of windows with a high return, each of weight 1."""

from dataclasses import replace

from remdm.ablations.arm import Arm

ARM = Arm(
    numbers=lambda config, baseline: replace(
        baseline, weight_range=(1.0, 1.0), return_above=config.ablation_win_threshold
    )
)
