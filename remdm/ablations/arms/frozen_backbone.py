"""Arm `frozen_backbone`: only the layers next to actions and times are trained."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import only

TRAINED = ("head", "token_embedding", "time_embedding")

ARM = Arm(rate=only(lambda path: path[0] in TRAINED))
