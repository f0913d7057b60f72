"""Arm `head_only`: only the final projection is trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import only

ARM = Arm(rate=only(lambda path: path[0] == "head"))
