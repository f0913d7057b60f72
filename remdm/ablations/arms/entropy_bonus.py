"""Arm `entropy_bonus`: a reward for undecided predictions, - 0.01 mean entropy."""

from remdm.ablations.arm import Arm
from remdm.ablations.penalty import mean_entropy

COEFFICIENT = 0.01

ARM = Arm(penalty=lambda sample: -COEFFICIENT * mean_entropy(sample))
