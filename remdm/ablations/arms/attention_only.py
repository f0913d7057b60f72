"""Arm `attention_only`: only queries, keys, values and outputs are trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import in_attention, only

ARM = Arm(rate=only(in_attention))
