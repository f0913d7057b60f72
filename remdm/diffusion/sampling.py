"""Reverse diffusion with remasking: from all masks to a plan."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from remdm.diffusion.remasking import PER_TOKEN, STRATEGIES, sigma_max
from remdm.diffusion.schedule import SCHEDULES

Denoise = Callable[[jax.Array, jax.Array], jax.Array]


class Sampler(NamedTuple):
    """Settings of the reverse process.

    `eta` and `temperature` may be arrays [], so that samplers with different values share a program.
    """

    steps: int
    schedule: str
    strategy: str
    eta: float | jax.Array
    use_loop: bool
    t_on: float
    t_off: float
    temperature: float | jax.Array
    top_p: float


class Grid(NamedTuple):
    """Parameters of each denoising step, arrays [steps]."""

    t: jax.Array  # the time whose alpha is current, an input of the model
    alpha_t: jax.Array
    alpha_s: jax.Array  # alpha after the step; equal to alpha_t while the loop holds it
    remask: jax.Array  # whether committed tokens may be re-masked


def split_steps(steps: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """Split steps in proportion to shares, at least one each, by largest remainders.

    Raises:
        ValueError: fewer than three steps.
    """
    if steps < 3:
        raise ValueError(f"steps = {steps}: the loop has three phases, so at least 3")
    exact = np.asarray(shares) / np.sum(shares) * (steps - 3)
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: steps - 3 - counts.sum()]:
        counts[i] += 1
    first, second, third = (counts + 1).tolist()
    return first, second, third


def make_grid(sampler: Sampler) -> Grid:
    """Times and alphas of every step.

    Without the loop, step k goes from t = (T - k) / T to (T - k - 1) / T. With it (ReMDM, arXiv
    2503.00307, section 4.2), t runs from 1 to t_on without remasking, is held there with remasking,
    and then runs from t_on to 0 without.
    """
    if sampler.use_loop:
        before, held, after = split_steps(
            sampler.steps, (1 - sampler.t_on, sampler.t_on - sampler.t_off, sampler.t_off)
        )
        start = np.linspace(1.0, sampler.t_on, before + 1)
        end = np.linspace(sampler.t_on, 0.0, after + 1)
        hold = np.full(held, sampler.t_on)
        t = np.concatenate([start[:-1], hold, end[:-1]])
        s = np.concatenate([start[1:], hold, end[1:]])
        remask = np.repeat([False, True, False], [before, held, after])
    else:
        t = np.arange(sampler.steps, 0, -1) / sampler.steps
        s = np.arange(sampler.steps - 1, -1, -1) / sampler.steps
        remask = np.ones(sampler.steps, bool)
    alpha = SCHEDULES[sampler.schedule].alpha
    # cos(pi / 2) is -4e-8 in float32.
    alpha_t, alpha_s = (jnp.clip(alpha(jnp.asarray(time, jnp.float32)), 0.0, 1.0) for time in (t, s))
    return Grid(jnp.asarray(t, jnp.float32), alpha_t, alpha_s, jnp.asarray(remask))


def nucleus(probs: jax.Array, top_p: float) -> jax.Array:
    """Nucleus sampling (arXiv 1904.09751) without a sort.

    A token is kept iff the total probability of strictly more probable tokens is below `top_p`, so ties
    are kept together.

    Args:
        probs: [.., V].

    Returns:
        Renormalised probabilities [.., V].
    """
    if top_p >= 1.0:
        return probs
    more_probable = probs[..., None, :] > probs[..., :, None]
    mass_above = jnp.sum(jnp.where(more_probable, probs[..., None, :], 0.0), axis=-1)
    kept = jnp.where(mass_above < top_p, probs, 0.0)
    return kept / jnp.sum(kept, axis=-1, keepdims=True)


def token_probs(logits: jax.Array, temperature: float | jax.Array, top_p: float) -> jax.Array:
    """The distribution [.., V] from which tokens are drawn; one-hot at the argmax for temperature 0."""
    logits = logits.astype(jnp.float32)
    is_array = isinstance(temperature, jax.Array)
    greedy = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1])
    if not is_array and temperature == 0.0:
        return greedy
    probs = nucleus(jax.nn.softmax(logits / temperature), top_p)
    return jnp.where(temperature > 0.0, probs, greedy) if is_array else probs


def draw(uniform: jax.Array, probs: jax.Array) -> jax.Array:
    """Categorical draw by inversion: uniform [..] in [0, 1), probs [.., V] -> token [..]."""
    cumulative = jnp.cumsum(probs, axis=-1)
    threshold = uniform[..., None] * cumulative[..., -1:]
    return jnp.argmax(cumulative > threshold, axis=-1)


def sample(
    key: jax.Array,
    denoise: Denoise,
    sampler: Sampler,
    *,
    num_tokens: int,
    locked_tokens: jax.Array,
    locked: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Draw plans by the reverse process of ReMDM (arXiv 2503.00307, eqs. 6 and 7, algorithms 2 and 3).

    Args:
        denoise: (tokens [B, H], t [B]) -> logits [B, H, V], V = num_tokens; V is the mask token.
        locked_tokens: tokens to keep at locked positions [B, H].
        locked: positions never masked nor decided again (inpainting, arXiv 2205.09991) [B, H].

    Returns:
        Plans [B, H] without masks, and the tokens after every step [steps, B, H], which cost nothing if
        they are not used.
    """
    mask_token = num_tokens
    shape = locked.shape

    def step(carry: tuple, inputs: tuple[jax.Array, jax.Array, Grid]) -> tuple[tuple, jax.Array]:
        tokens, psi = carry
        for_tokens, for_masks, now = inputs
        logits = denoise(tokens, jnp.broadcast_to(now.t, shape[:1]))
        probs = token_probs(logits, sampler.temperature, sampler.top_p)
        drawn = draw(for_tokens, probs)
        drawn_psi = jnp.take_along_axis(probs, drawn[..., None], axis=-1)[..., 0]

        unmask, remask = decide(sampler, now, for_masks, psi, tokens == mask_token, locked)
        tokens = jnp.where(unmask, drawn, jnp.where(remask, mask_token, tokens))
        psi = jnp.where(unmask, drawn_psi, psi)
        return (tokens, psi), tokens

    start = jnp.where(locked, locked_tokens, mask_token)
    inputs = (*step_uniforms(key, sampler, shape), make_grid(sampler))
    (tokens, _), trace = jax.lax.scan(step, (start, jnp.ones(shape)), inputs)
    return tokens, trace


def step_uniforms(key: jax.Array, sampler: Sampler, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Uniform random numbers [T, B, H] of all steps: for the choice of tokens, and for decisions on masks."""
    keys = jax.random.split(key, sampler.steps)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (2, *shape)))(keys)
    return uniform[:, 0], uniform[:, 1]


def decide(
    sampler: Sampler, now: Grid, uniform: jax.Array, psi: jax.Array, masked: jax.Array, locked: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Which tokens a step unmasks and which it re-masks, from uniform random numbers; all arrays [B, H]."""
    sigma = jnp.where(now.remask, _sigma(sampler, now, psi, ~masked & ~locked), 0.0)
    unmask_prob = (now.alpha_s - (1.0 - sigma) * now.alpha_t) / jnp.maximum(1.0 - now.alpha_t, 1e-12)
    # At the last step alpha_s is 1, and the probability is 1 up to rounding.
    unmask = masked & ((uniform < unmask_prob) | (now.alpha_s >= 1.0))
    return unmask, ~masked & ~locked & (uniform < sigma)


def _sigma(sampler: Sampler, now: Grid, psi: jax.Array, committed: jax.Array) -> jax.Array:
    """Remasking probability [B, H]; for masked tokens, the sigma of their unmasking probability."""
    largest = sigma_max(now.alpha_t, now.alpha_s)
    sigma = STRATEGIES[sampler.strategy](largest, sampler.eta, psi, committed)
    if sampler.strategy in PER_TOKEN and sampler.use_loop:
        # alpha is held, so tokens must be unmasked at the rate at which committed ones are re-masked.
        count = jnp.sum(committed, axis=-1, keepdims=True)
        mean = jnp.sum(sigma, axis=-1, keepdims=True) / jnp.maximum(count, 1)
        sigma = jnp.where(committed, sigma, mean)
    return sigma
