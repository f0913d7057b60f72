"""Arm `lora`: low-rank adapters of the attention kernels; all else is frozen."""

from typing import Any

import jax

from remdm.ablations.arm import Arm
from remdm.ablations.lora import adapters, merge

RANK, ALPHA = 8, 16.0


def trained(key: jax.Array, pretrained: Any) -> Any:
    """The adapters alone."""
    return adapters(key, pretrained, RANK)


def merged(pretrained: Any, trained: Any) -> Any:
    """W + alpha / rank A B."""
    return merge(pretrained, trained, ALPHA / RANK)


ARM = Arm(trained=trained, merged=merged)
