"""Arm `running_stats`: weights in standard deviations from a mean, both averaged over updates."""

from typing import Any

import jax

from remdm.ablations.advantage import RunningStats, standardised
from remdm.ablations.arm import Arm, Numbers
from remdm.ablations.problem import Batch, Problem

DECAY = 0.99


def init_extra(problem: Problem, key: jax.Array, pretrained: Any) -> RunningStats:
    """No batch seen."""
    return RunningStats.fresh()


def weigh(numbers: Numbers, batch: Batch, stats: RunningStats) -> tuple[jax.Array, RunningStats]:
    """(return - mean) / std, of exponential averages that include this batch."""
    stats = stats.updated(batch, DECAY)
    return standardised(batch.returns, stats.mean, stats.std), stats


ARM = Arm(init_extra=init_extra, weigh=weigh)
