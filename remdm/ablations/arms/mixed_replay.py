"""Arm `mixed_replay`: a quarter of each batch comes from the run's own past.

The buffer stores the batch drawn from each rollout, not all windows of the rollout. In
`ablations_default` a rollout has 6,208 windows, so 10,000 would be less than two rollouts; they are 19
batches.
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
    """An empty buffer of windows, at most as large as the number of windows that the run draws."""
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
    """Replace some fresh windows by past ones, then store all fresh ones."""
    count = round(FRACTION * fresh.valid.size)
    indices = draw_places(key, buffer, (count,))

    def mixed(held: jax.Array, new: jax.Array) -> jax.Array:
        past = jnp.where(buffer.size > 0, held[indices], new[:count])
        return jnp.concatenate([past, new[count:]])

    metrics = {"train/replay_fill": buffer.size / buffer.capacity}
    return jax.tree.map(mixed, buffer.items, fresh), insert(buffer, fresh), metrics


ARM = Arm(init_extra=init_extra, prepare=prepare)
