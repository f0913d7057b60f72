"""Arm `layer_ablation_top2`: only the last two blocks and the head are trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import top_blocks

ARM = Arm(rate=top_blocks(2))
