"""Arm `mixed_replay`: a quarter of each batch comes from the run's own past.

What is remembered is the batch drawn from each rollout, not all of the rollout's windows. Of these there
are 6,208 in `ablations_default`, so that 10,000 would be less than two rollouts; they are 19 batches.
"""

from typing import Any

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Arm
from remdm.ablations.problem import Batch, Problem
from remdm.play.buffer import CircularBuffer, draw_places, empty, insert
from remdm.training.algorithm import Metrics

FRACTION = 0.25


def init_extra(problem: Problem, key: jax.Array, pretrained: Any) -> CircularBuffer:
    """An empty buffer of windows, with room for no more than the run draws."""
    config = problem.config
    one = Batch(
        obs=jnp.zeros(problem.env.game.obs_dim),
        plan=jnp.zeros(problem.network.plan_horizon, jnp.int32),
        valid=jnp.zeros((), bool),
        returns=jnp.zeros(()),
    )
    return empty(min(config.ablation_replay_size, config.num_updates * config.ablation_batch_size), one)


def prepare(
    problem: Problem, key: jax.Array, fresh: Batch, buffer: CircularBuffer
) -> tuple[Batch, CircularBuffer, Metrics]:
    """Put past windows in the place of some fresh ones, then remember all that were drawn fresh."""
    count = round(FRACTION * fresh.valid.size)
    indices = draw_places(key, buffer, (count,))

    def mixed(held: jax.Array, new: jax.Array) -> jax.Array:
        past = jnp.where(buffer.size > 0, held[indices], new[:count])
        return jnp.concatenate([past, new[count:]])

    metrics = {"train/replay_fill": buffer.size / buffer.capacity}
    return jax.tree.map(mixed, buffer.items, fresh), insert(buffer, fresh), metrics


ARM = Arm(init_extra=init_extra, prepare=prepare)
