"""Passes over a rollout."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from remdm.training.algorithm import Metrics


def train_epochs(
    key: jax.Array,
    epochs: int,
    num_minibatches: int,
    count: int,
    step: Callable[[Any, jax.Array], tuple[Any, Metrics]],
    learner: Any,
) -> tuple[Any, Metrics]:
    """A gradient step per minibatch, in a new random order for every epoch.

    Args:
        count: samples, a multiple of `num_minibatches`.
        step: (learner, indices of samples [count / num_minibatches]) -> (learner, metrics).

    Returns:
        The learner, and the means of the metrics.
    """

    def epoch(learner: Any, key: jax.Array) -> tuple[Any, Metrics]:
        return jax.lax.scan(step, learner, jax.random.permutation(key, count).reshape(num_minibatches, -1))

    learner, metrics = jax.lax.scan(epoch, learner, jax.random.split(key, epochs))
    return learner, jax.tree.map(jnp.mean, metrics)
