"""Arm `kl_penalty`: a penalty on the drift from the pretrained policy, + 0.1 KL(current || pretrained)."""

from remdm.ablations.arm import Arm
from remdm.ablations.penalty import mean_kl

COEFFICIENT = 0.1

ARM = Arm(penalty=lambda sample: COEFFICIENT * mean_kl(sample))
