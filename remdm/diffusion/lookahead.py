"""Sample only the requested tokens, skipping the steps that they do not depend on.

If sigma is one number for a whole row (`rescale` and `cap`), the steps at which a token is masked and
unmasked do not depend on its value. So this course is drawn first; going back from its end shows on which
draws a wanted token depends, and only those steps of those rows are denoised.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from remdm.diffusion.remasking import PER_TOKEN
from remdm.diffusion.sampling import Sampler, decide, draw, make_grid, step_uniforms, token_probs

DenoiseRows = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Course(NamedTuple):
    """When each token is masked and drawn, without its values; arrays [T, B, H]."""

    masked: jax.Array  # before the step
    unmask: jax.Array  # whether a draw in the step replaces the mask


def can_look_ahead(sampler: Sampler) -> bool:
    """Whether a course can be drawn without knowing the tokens."""
    return sampler.strategy not in PER_TOKEN


def draw_course(uniform: jax.Array, sampler: Sampler, locked: jax.Array) -> Course:
    """Follow only the masks through all steps.

    Args:
        uniform: the random numbers that decide on masks [T, B, H].
        locked: positions never masked nor drawn [B, H].
    """

    def step(masked: jax.Array, inputs: tuple) -> tuple[jax.Array, Course]:
        uniform, now = inputs
        unmask, remask = decide(sampler, now, uniform, jnp.ones(locked.shape), masked, locked)
        return (masked & ~unmask) | remask, Course(masked, unmask)

    return jax.lax.scan(step, ~locked, (uniform, make_grid(sampler)))[1]


def needed_steps(course: Course, wanted: jax.Array) -> jax.Array:
    """The steps [T, B] in which a row must be denoised for its wanted tokens [B, H].

    They draw a token that is wanted at the end, or that is an input of another needed step.
    """

    def step_back(used: jax.Array, now: Course) -> tuple[jax.Array, jax.Array]:
        needed = jnp.any(used & now.unmask, axis=1)
        used = (used | needed[:, None]) & ~now.masked
        return used, needed

    return jax.lax.scan(step_back, wanted, course, reverse=True)[1]


def sample_wanted(
    key: jax.Array,
    denoise: DenoiseRows,
    sampler: Sampler,
    *,
    num_tokens: int,
    locked_tokens: jax.Array,
    locked: jax.Array,
    wanted: jax.Array,
    block_size: int,
) -> jax.Array:
    """The plans that `sample` draws from the same key, correct where wanted and arbitrary elsewhere.

    Rows are denoised `block_size` at a time, each at its next needed step; rows with most steps left come
    first.

    Args:
        denoise: (rows [N], their tokens [N, H], t [N]) -> logits [N, H, V], V = num_tokens.
        locked_tokens: tokens to keep at locked positions [B, H].
        locked: positions never masked nor drawn [B, H].
        wanted: [B, H].

    Returns:
        [B, H].
    """
    grid = make_grid(sampler)
    for_tokens, for_masks = step_uniforms(key, sampler, locked.shape)
    course = draw_course(for_masks, sampler, locked)

    def denoise_block(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        tokens, left = carry
        _, rows = jax.lax.top_k(jnp.sum(left, axis=0), block_size)
        step = jnp.argmax(left, axis=0)[rows]
        seen = jnp.where(course.masked[step, rows], num_tokens, tokens[rows])
        probs = token_probs(denoise(rows, seen, grid.t[step]), sampler.temperature, sampler.top_p)
        drawn = draw(for_tokens[step, rows], probs)
        changed = course.unmask[step, rows] & left[step, rows][:, None]
        tokens = tokens.at[rows].set(jnp.where(changed, drawn, tokens[rows]), unique_indices=True)
        return tokens, left.at[step, rows].set(False, unique_indices=True)

    tokens = jnp.where(locked, locked_tokens, 0)
    left = needed_steps(course, wanted & ~locked)
    return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), denoise_block, (tokens, left))[0]
