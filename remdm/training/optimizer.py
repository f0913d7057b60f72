"""Learning-rate schedules and optimisers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from optax.contrib import muon

Matrices = Callable[[Any], Any]

# The first three iterations of Polar Express (arXiv 2505.16932, algorithm 1, smallest singular value 1e-3).
# A small planner learns as much as with Muon's own five, in four fifths of the time (docs/method.md).
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)


def cosine_schedule(peak: float, total_steps: int, warmup_steps: int) -> optax.Schedule:
    """Linear warm-up from 0 to `peak`, then a cosine to a tenth of it, over gradient steps."""
    cosine = optax.cosine_decay_schedule(peak, max(1, total_steps - warmup_steps), alpha=0.1)
    if warmup_steps == 0:
        return cosine
    warmup = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([warmup, cosine], [warmup_steps])


def adamw(
    learning_rate: optax.ScalarOrSchedule, max_grad_norm: float, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW with eps 1e-5 (arXiv 1711.05101); weight decay 0 is Adam."""
    return optax.chain(
        optax.clip_by_global_norm(max_grad_norm),
        optax.adamw(learning_rate, eps=1e-5, weight_decay=weight_decay),
    )


def muon_adamw(
    learning_rate: optax.ScalarOrSchedule, max_grad_norm: float, weight_decay: float, matrices: Matrices
) -> optax.GradientTransformation:
    """Clip by global norm, then Muon (Jordan et al. 2024) for some matrices and AdamW for the rest.

    Muon's steps are scaled to the size of Adam's (arXiv 2502.16982, section 2.2), so both have one learning
    rate.

    Args:
        matrices: parameters -> their tree, with the axes of input and output of arrays that Muon
            orthogonalises, and None elsewhere.
    """
    return optax.chain(
        optax.clip_by_global_norm(max_grad_norm),
        muon(
            learning_rate,
            weight_decay=weight_decay,
            adam_weight_decay=weight_decay,
            consistent_rms=0.2,
            ns_coeffs=POLAR_EXPRESS,
            muon_weight_dimension_numbers=matrices,
        ),
    )


def at_step(state: optax.OptState, step: int) -> optax.OptState:
    """An optimiser's state whose schedule counts `step` gradient steps as done.

    Adam's own count is kept, because its bias correction depends on the gradients in its moments.
    """

    def of_a_schedule(path: tuple, value: object) -> bool:
        return getattr(path[-1], "tuple_name", None) == "ScaleByScheduleState"

    return optax.tree.set(state, of_a_schedule, count=jnp.asarray(step, jnp.int32))
