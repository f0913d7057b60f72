"""Arm `baseline_rl`: the return-weighted bound and nothing else."""

from remdm.ablations.arm import Arm

ARM = Arm()
