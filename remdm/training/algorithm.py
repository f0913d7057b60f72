"""What the training loop runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Algorithm:
    """A training algorithm as pure functions; it knows nothing of files, progress or checkpoints.

    Attributes:
        init: key -> state, a pytree of arrays that holds everything the next update depends on.
        update: state -> (state, metrics); one rollout and its gradient steps.
        params: state -> what a checkpoint keeps.
        num_updates: updates of a whole run.
        frames_per_update: environment steps, summed over environments, of one update.
        validate: (key, state) -> metrics, every `val_every` updates; `val/score` chooses the best parameters.
        val_every: updates between validations.
    """

    init: Callable[[jax.Array], Any]
    update: Callable[[Any], tuple[Any, Metrics]]
    params: Callable[[Any], Any]
    num_updates: int
    frames_per_update: int
    validate: Callable[[jax.Array, Any], Metrics] | None = None
    val_every: int = 1
