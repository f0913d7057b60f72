"""Probabilities of every token at every denoising step, recomputed from the tokens of a finished sample."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from remdm.diffusion.remasking import STRATEGIES, sigma_max
from remdm.diffusion.sampling import Denoise, Sampler, make_grid, token_probs


class Details(NamedTuple):
    """The denoising of one plan; arrays [S, H, ...], one row for each denoising step."""

    probs: jax.Array  # [S, H, V], the distribution from which the step draws tokens
    confidence: jax.Array  # [S, H], after the step: a token's probability when it was drawn; 1 where locked
    remask: jax.Array  # [S, H], the probability with which the step re-masks a committed token; else 0


def sampling_details(
    denoise: Denoise, sampler: Sampler, start: jax.Array, trace: jax.Array, num_tokens: int
) -> Details:
    """Recompute the probabilities of a plan that `sample` has drawn; all steps are one batch.

    Args:
        denoise: (tokens [S, H], t [S]) -> logits [S, H, V], V = num_tokens; V is the mask token.
        start: the tokens before the first step [H], masks except where they are locked.
        trace: the tokens after every step [S, H].
    """
    grid = make_grid(sampler)
    locked = start != num_tokens
    before = jnp.concatenate([start[None], trace[:-1]])
    probs = token_probs(denoise(before, grid.t), sampler.temperature, sampler.top_p)
    masked, masked_after = before == num_tokens, trace == num_tokens
    drawn = jnp.take_along_axis(probs, jnp.where(masked_after, 0, trace)[..., None], axis=-1)[..., 0]

    def step(psi: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        unmasked, probability = now
        psi = jnp.where(unmasked, probability, psi)
        return psi, psi

    _, confidence = jax.lax.scan(step, jnp.ones(start.shape), (masked & ~masked_after, drawn))
    psi = jnp.concatenate([jnp.ones((1, *start.shape)), confidence[:-1]])
    committed = ~masked & ~locked
    largest = sigma_max(grid.alpha_t, grid.alpha_s)[:, None]
    sigma = STRATEGIES[sampler.strategy](largest, sampler.eta, psi, committed)
    return Details(probs, confidence, jnp.where(committed & grid.remask[:, None], sigma, 0.0))
