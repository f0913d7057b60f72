"""Arm `running_stats`: weights in standard deviations from a mean, both averaged over updates."""

from typing import Any

import jax
import jax.numpy as jnp

from remdm.ablations.advantage import RunningStats, standardised
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch, Problem

DECAY = 0.99


def init_extra(problem: Problem, key: jax.Array, pretrained: Any) -> RunningStats:
    """No batch seen."""
    return RunningStats.fresh()


def weigh(numbers: Numbers, batch: Batch, stats: RunningStats) -> tuple[jax.Array, RunningStats]:
    """1 + (max(return, 0) - mean) / std, of exponential averages that include this batch, clipped.

    The clip keeps weights positive: of a negative one the bound would be ascended, without end.
    """
    gain = jnp.maximum(batch.returns, 0.0)
    stats = stats.updated(gain, batch.valid, DECAY)
    return jnp.clip(1.0 + standardised(gain, stats.mean, stats.std), *numbers.weight_range), stats


ARM = Arm(init_extra=init_extra, weigh=weigh)
