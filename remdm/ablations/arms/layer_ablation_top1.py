"""Arm `layer_ablation_top1`: only the last block and the head are trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import top_blocks

ARM = Arm(rate=top_blocks(1))
