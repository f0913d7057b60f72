"""Arm `llrd`: the learning rate decays layer by layer from the head down."""

from remdm.ablations.arm import Arm
from remdm.ablations.trainable import Path, block_of

DECAY = 0.9


def rate(path: Path, blocks: int) -> float:
    """0.9 to the power of the layers above: none for the head, all blocks and one more for the inputs."""
    block = block_of(path)
    if block is not None:
        return DECAY ** (blocks - block)
    return 1.0 if path[0] in ("head", "final_norm") else DECAY ** (blocks + 1)


ARM = Arm(rate=rate)
