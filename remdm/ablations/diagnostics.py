"""Measurements of fine-tuning in addition to its loss; they do not affect training.

Gradients that are compared are computed on one noised batch, because the noise of separate draws would hide
their agreement.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Numbers, time_range
from remdm.ablations.penalty import kl_divergence
from remdm.ablations.problem import Batch, Problem, Targets, cloning
from remdm.ablations.surgery import cosine, norm, project
from remdm.base.tree import where
from remdm.diffusion.loss import MIN_TIME
from remdm.training.algorithm import Metrics

STREAM = 0xD1A6  # folded into the key, so that the diagnostics' random numbers do not change training
LOW, MIDDLE, HIGH = (MIN_TIME, 0.2), (0.3, 0.7), (0.8, 1.0)


class Measured(NamedTuple):
    """The current and the pretrained policy, and the batch on which they are compared."""

    params: Any
    pretrained: Any
    batch: Batch
    targets: Targets  # of the gradient by reward


def diagnose(problem: Problem, key: jax.Array, at: Measured, numbers: Numbers, update: jax.Array) -> Metrics:
    """The due measurements: at the first update, for the start of curves, and at every `..._every` updates.

    Args:
        key: the key of training.
    """
    config = problem.config
    gradient_key, drift_key, cka_key = jax.random.split(jax.random.fold_in(key, STREAM), 3)

    def when_due(every: int, measure: Callable[[], Metrics]) -> Metrics:
        """Measurements if they are due, else NaN, which costs nothing."""
        due = (update == 0) | ((update + 1) % every == 0)
        shapes = jax.eval_shape(measure)
        absent = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes)
        return jax.lax.cond(due, measure, lambda: absent)

    metrics: Metrics = {}
    if config.ablation_diagnostics_every is not None:
        times = time_range(numbers, update)
        metrics |= when_due(
            config.ablation_diagnostics_every,
            lambda: (
                gradient_metrics(problem, gradient_key, at, *times) | drift_metrics(problem, drift_key, at)
            ),
        )
    if config.ablation_cka_every is not None:
        metrics |= when_due(config.ablation_cka_every, lambda: cka_metrics(problem, cka_key, at))
    return metrics


def gradient_metrics(
    problem: Problem, key: jax.Array, at: Measured, low: jax.Array, high: jax.Array
) -> Metrics:
    """Alignment of the gradient by reward with that of behaviour cloning, by layer and by range of t.

    The gradient by reward is at the current parameters. It is compared with cloning's at the pretrained
    ones; PCGrad (arXiv 2001.06782) would project it against cloning's at the current ones.

    Args:
        low: the arm draws its times from [low, high).
    """
    draw_key, bins_key = jax.random.split(key)
    uniform = cloning(at.batch)

    def gradient(pretrained: jax.Array, cloned: jax.Array, low: jax.Array, high: jax.Array) -> Any:
        """One of the gradients; a function of data, so that all compile once."""
        params = where(pretrained, at.pretrained, at.params)
        targets = where(cloned, uniform, at.targets)
        noised = problem.objective.noise(draw_key, at.batch.plan, low, high)
        return problem.gradient(params, at.batch, noised, targets)

    arguments = [
        (False, False, low, high),
        (True, True, low, high),
        (False, True, low, high),
        (False, False, *LOW),
        (False, False, *HIGH),
    ]
    measured = jax.lax.map(lambda x: gradient(*x), tuple(map(jnp.array, zip(*arguments, strict=True))))
    reward, cloned, current, at_low, at_high = (
        jax.tree.map(lambda x, i=i: x[i], measured) for i in range(len(arguments))
    )

    projected = project(reward, current)
    metrics = {
        "gradient_cosine": cosine(reward, cloned),
        "rl_grad_norm": norm(reward),
        "bc_grad_norm": norm(cloned),
        "t_low_high_cosine": cosine(at_low, at_high),
        "t_low_grad_norm": norm(at_low),
        "t_high_grad_norm": norm(at_high),
        "pcgrad_removed_share": projected.removed_share,
        "pcgrad_conflicting_tensors": projected.conflicting,
    }
    for layer, gradients in reward["params"].items():
        metrics[f"layer_grad_norm/{layer}"] = norm(gradients)
        metrics[f"layer_cosine/{layer}"] = cosine(gradients, cloned["params"][layer])
    for i, in_bin in enumerate(_norms_by_time(problem, bins_key, at)):
        metrics[f"t_bin_grad_norm/{i}"] = in_bin
    return {f"diag/{name}": value for name, value in metrics.items()}


def _norms_by_time(problem: Problem, key: jax.Array, at: Measured) -> jax.Array:
    """Norm of the gradient by reward with t from each of `ablation_t_bins` equal ranges."""
    edges = jnp.linspace(MIN_TIME, 1.0, problem.config.ablation_t_bins + 1)

    def in_range(edges: tuple[jax.Array, jax.Array]) -> jax.Array:
        noised = problem.objective.noise(key, at.batch.plan, *edges)
        return norm(problem.gradient(at.params, at.batch, noised, at.targets))

    return jax.lax.map(in_range, (edges[:-1], edges[1:]))


def drift_metrics(problem: Problem, key: jax.Array, at: Measured) -> Metrics:
    """KL(current || pretrained) on masked positions, over all times and by range of t."""
    noised = problem.objective.noise(key, at.batch.plan)
    current, pretrained = (problem.logits(p, at.batch, noised) for p in (at.params, at.pretrained))
    divergence = kl_divergence(current, pretrained)
    masked = problem.masked(at.batch, noised)

    def mean(low: float, high: float) -> jax.Array:
        counted = masked & ((noised.t >= low) & (noised.t <= high))[:, None]
        return jnp.sum(jnp.where(counted, divergence, 0.0)) / jnp.sum(counted)

    ranges = {"kl_low_t": LOW, "kl_mid_t": MIDDLE, "kl_high_t": HIGH}
    return {
        "diag/kl": mean(0.0, 1.0),
        **{f"diag/{name}": mean(*times) for name, times in ranges.items()},
    }


def cka_metrics(problem: Problem, key: jax.Array, at: Measured) -> Metrics:
    """Linear CKA of the current and the pretrained policy's mean-pooled logits on some windows."""
    batch = jax.tree.map(lambda x: x[: problem.config.ablation_cka_batch], at.batch)
    noised = problem.objective.noise(key, batch.plan)
    current, pretrained = (
        jnp.mean(problem.logits(p, batch, noised).astype(jnp.float32), axis=1)
        for p in (at.params, at.pretrained)
    )
    return {"diag/cka": linear_cka(current, pretrained)}


def linear_cka(x: jax.Array, y: jax.Array) -> jax.Array:
    """Linear centred kernel alignment of features [N, P] and [N, Q] (arXiv 1905.00414, eq. 5).

    1 for features that are equal up to rotation and scale; NaN if one of them does not vary.
    """
    x, y = x - jnp.mean(x, axis=0), y - jnp.mean(y, axis=0)
    return jnp.sum((y.T @ x) ** 2) / (jnp.linalg.norm(x.T @ x) * jnp.linalg.norm(y.T @ y))
