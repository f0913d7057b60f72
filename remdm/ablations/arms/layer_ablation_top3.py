"""Arm `layer_ablation_top3`: only the last three blocks and the head are trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import top_blocks

ARM = Arm(rate=top_blocks(3))
