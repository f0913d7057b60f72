"""An arm: the baseline with one change, defined by the few functions it replaces."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.ablations.problem import Batch, Problem
from remdm.config.ablations import AblationsConfig
from remdm.diffusion.loss import MIN_TIME, Noised
from remdm.planners.window import WEIGHT_FLOOR, return_weights
from remdm.training.algorithm import Metrics

MIN_WIDTH = 0.05
ALL_TIMES = (MIN_TIME, 1.0)
LOW_TIMES = (MIN_TIME, 0.2)


@struct.dataclass
class Numbers:
    """Settings of an arm that are data of the program: arms that differ only in them compile once."""

    first_times: Any = ALL_TIMES  # [2], the range of t at the first update,
    last_times: Any = ALL_TIMES  # [2], after `times_updates` updates, and linearly in between
    times_updates: Any = 1.0  # []
    weight_range: Any = (WEIGHT_FLOOR, jnp.inf)  # [2]
    return_above: Any = -jnp.inf  # [], windows of a larger return are kept


@dataclass(frozen=True)
class Sample:
    """Inputs of a penalty, which is computed on the same noised batch as the bound."""

    problem: Problem
    params: Any
    pretrained: Any
    batch: Batch
    noised: Noised
    logits: jax.Array  # [B, H, V], of `params`
    extra: Any

    def masked_mean(self, x: jax.Array) -> jax.Array:
        """Mean of x [B, H] over the masked positions of valid windows; 0 if there are none."""
        masked = self.problem.masked(self.batch, self.noised)
        return jnp.sum(jnp.where(masked, x, 0.0)) / jnp.maximum(jnp.sum(masked), 1)


def weigh_by_return(numbers: Numbers, batch: Batch, extra: Any) -> tuple[jax.Array, Any]:
    """The baseline's weights [B]: `return_weights`."""
    return return_weights(batch.returns, batch.valid, *numbers.weight_range), extra


@dataclass(frozen=True)
class Arm:
    """The functions of an arm; the defaults are the baseline.

    Attributes:
        numbers: (config, the baseline's numbers) -> the arm's.
        rate: (path of an array, blocks of the network) -> factor of its learning rate; 0 freezes it.
        trained: (key, pretrained parameters) -> the trained arrays.
        merged: (pretrained, trained) -> the network's parameters.
        init_extra: (problem, key, pretrained) -> the arm's own part of the state, a pytree of arrays.
        prepare: (problem, key, fresh batch, extra) -> (the batch to train on, extra, metrics).
        weigh: (numbers, batch, extra) -> (weights [B], extra).
        keep: (numbers, batch) -> which windows count [B].
        penalty: sample -> a term added to the loss; None without.
        adjust: (gradient, function that returns behaviour cloning's gradient on the same noised batch) -> the
            gradient to descend on.
    """

    numbers: Callable[[AblationsConfig, Numbers], Numbers] = lambda config, baseline: baseline
    rate: Callable[[tuple[str, ...], int], float] = lambda path, blocks: 1.0
    trained: Callable[[jax.Array, Any], Any] = lambda key, pretrained: pretrained
    merged: Callable[[Any, Any], Any] = lambda pretrained, trained: trained
    init_extra: Callable[[Problem, jax.Array, Any], Any] = lambda problem, key, pretrained: ()
    prepare: Callable[[Problem, jax.Array, Batch, Any], tuple[Batch, Any, Metrics]] = (
        lambda problem, key, batch, extra: (batch, extra, {})
    )
    weigh: Callable[[Numbers, Batch, Any], tuple[jax.Array, Any]] = weigh_by_return
    keep: Callable[[Numbers, Batch], jax.Array] = lambda numbers, batch: batch.returns > numbers.return_above
    penalty: Callable[[Sample], jax.Array] | None = None
    adjust: Callable[[Any, Callable[[], Any]], Any] = lambda gradient, cloning: gradient


def load_arm(name: str) -> Arm:
    """The arm with a name of the configuration."""
    return importlib.import_module(f"remdm.ablations.arms.{name}").ARM


def numbers_of(arm: Arm, config: AblationsConfig) -> Numbers:
    """An arm's numbers as arrays."""
    baseline = Numbers(weight_range=(WEIGHT_FLOOR, config.return_weight_cap))
    numbers = arm.numbers(config, baseline)
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32), numbers, is_leaf=lambda x: isinstance(x, tuple)
    )


def time_range(numbers: Numbers, update: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The range from which t is drawn at an update, low [] and high []."""
    share = jnp.minimum(update / numbers.times_updates, 1.0)
    low, high = numbers.first_times + share * (numbers.last_times - numbers.first_times)
    return low, jnp.maximum(high, low + MIN_WIDTH)
