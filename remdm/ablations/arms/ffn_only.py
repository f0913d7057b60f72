"""Arm `ffn_only`: only the blocks' feed-forward layers are trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import in_ffn, only

ARM = Arm(rate=only(in_ffn))
