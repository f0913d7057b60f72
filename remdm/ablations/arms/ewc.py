"""Arm `ewc`: elastic weight consolidation (arXiv 1612.00796), + 100 sum F (theta - theta*)^2."""

from typing import Any

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Arm
from remdm.ablations.problem import Problem, cloning
from remdm.play.rollout import PlayState, start

COEFFICIENT = 100.0


def fisher_information(problem: Problem, key: jax.Array, params: Any) -> Any:
    """Diagonal of the empirical Fisher information, a tree like the parameters.

    The squared gradient of the bound, batch by batch, averaged over batches of rollouts of the policy itself
    (arXiv 1612.00796, section 2).
    """
    config = problem.config
    start_key, key = jax.random.split(key)

    def accumulate(carry: tuple[PlayState, Any], key: jax.Array) -> tuple[tuple[PlayState, Any], None]:
        play, total = carry
        play_key, draw_key, noise_key = jax.random.split(key, 3)
        play, data = problem.play(play_key, params, play)
        batch = problem.windows(data).draw(draw_key, config.ablation_batch_size)
        noised = problem.objective.noise(noise_key, batch.plan)
        gradient = problem.gradient(params, batch, noised, cloning(batch))
        return (play, jax.tree.map(lambda sum_, g: sum_ + g**2, total, gradient)), None

    first = start(start_key, problem.env, ())
    keys = jax.random.split(key, config.ablation_fisher_batches)
    (_, total), _ = jax.lax.scan(accumulate, (first, jax.tree.map(jnp.zeros_like, params)), keys)
    return jax.tree.map(lambda sum_: sum_ / config.ablation_fisher_batches, total)


def weighted_distance(params: Any, anchor: Any, importance: Any) -> jax.Array:
    """Sum F (theta - theta*)^2 over all arrays [] (arXiv 1612.00796, eq. 3)."""
    terms = jax.tree.map(lambda x, a, f: jnp.sum(f * (x - a) ** 2), params, anchor, importance)
    return jax.tree.reduce(jnp.add, terms)


ARM = Arm(
    init_extra=fisher_information,
    penalty=lambda sample: COEFFICIENT * weighted_distance(sample.params, sample.pretrained, sample.extra),
)
