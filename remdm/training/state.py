"""The whole state of a run: saving it and loading it back is resuming."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm

logger = logging.getLogger("remdm")


@struct.dataclass
class TrainState:
    """An algorithm's state and what the loop adds to it; [R] where an algorithm is repeated."""

    algorithm: Any
    update: jax.Array  # [], updates done
    val_key: jax.Array
    best_score: jax.Array  # [] or [R]
    best_update: jax.Array  # [] or [R], updates done when it was reached
    best_params: Any


@dataclass(frozen=True)
class Start:
    """A checkpoint that a run begins with in place of fresh parameters.

    Attributes:
        update: updates that count as done.
        whole: whether its whole training state is taken, optimiser and games included, or its parameters.
    """

    checkpoint: Path
    update: int
    whole: bool


def fresh_state(algorithm: Algorithm, key: jax.Array) -> TrainState:
    """The state before the first update."""
    init_key, val_key = jax.random.split(key)
    state = algorithm.init(init_key)
    each = () if algorithm.repeats == 1 else (algorithm.repeats,)
    return TrainState(
        algorithm=state,
        update=jnp.zeros((), jnp.int32),
        val_key=val_key,
        best_score=jnp.full(each, -jnp.inf),
        best_update=jnp.zeros(each, jnp.int32),
        # A copy: two leaves of one buffer could not both be donated.
        best_params=jax.tree.map(jnp.copy, algorithm.params(state)),
    )


def to_items(algorithm: Algorithm, state: TrainState, with_buffer: bool) -> dict[str, Any]:
    """What a checkpoint keeps of a state, by item; what the run is given is left out."""
    items: dict[str, Any] = {"training": _without(state, algorithm.given + algorithm.refillable)}
    if with_buffer and algorithm.refillable:
        items["buffer"] = {name: getattr(state.algorithm, name) for name in algorithm.refillable}
    return items


def from_items(algorithm: Algorithm, key: jax.Array, folder: Path) -> TrainState:
    """The state in a checkpoint; what it does not hold is as before the first update.

    Raises:
        UserError: it cannot be read, or its arrays differ; the message names the first.
    """
    shapes = jax.eval_shape(lambda key: fresh_state(algorithm, key), key)
    absent = algorithm.given
    saved = {}
    if checkpoint.has(folder, "buffer"):
        like = {name: getattr(shapes.algorithm, name) for name in algorithm.refillable}
        saved = checkpoint.restore(folder, "buffer", like)
    else:
        absent += algorithm.refillable
        for name in algorithm.refillable:
            logger.warning("checkpoint %s: holds no %s, which starts empty and refills", folder, name)
    # XLA drops the rest of the fresh state.
    fresh = jax.jit(
        lambda key: {name: getattr(fresh_state(algorithm, key).algorithm, name) for name in absent}
    )(key)
    kept = checkpoint.restore(folder, "training", _without(shapes, algorithm.given + algorithm.refillable))
    # Copies: a buffer that numpy still owns cannot be donated.
    kept, saved = jax.tree.map(jnp.array, (kept, saved))
    if not (fresh or saved):
        return kept
    return replace(kept, algorithm=kept.algorithm.replace(**fresh, **saved))


def first_state(algorithm: Algorithm, key: jax.Array, start: Start | None) -> TrainState:
    """The state a run begins with.

    Raises:
        UserError: the checkpoint of `start` does not fit.
    """
    fresh = jax.jit(lambda key: fresh_state(algorithm, key))
    if start is None:
        return fresh(key)
    if start.whole:
        state = from_items(algorithm, key, start.checkpoint)
        params = algorithm.params(state.algorithm)
    else:
        state = fresh(key)
        like = one(algorithm, state, 0).best_params
        params = checkpoint.restore(start.checkpoint, "params", like)
        # Copies: a buffer that numpy still owns cannot be donated.
        params = jax.tree.map(
            lambda x, all_: jnp.array(jnp.broadcast_to(x, all_.shape)), params, state.best_params
        )
    return replace(
        state,
        algorithm=algorithm.adopt(state.algorithm, params, start.update),
        update=jnp.asarray(start.update, jnp.int32),
    )


def one(algorithm: Algorithm, state: TrainState, repeat: int) -> TrainState:
    """The state of one repetition."""
    if algorithm.repeats == 1:
        return state
    return replace(
        state,
        algorithm=algorithm.one(state.algorithm, repeat),
        best_score=state.best_score[repeat],
        best_update=state.best_update[repeat],
        best_params=jax.tree.map(lambda x: x[repeat], state.best_params),
    )


def _without(state: TrainState, fields: tuple[str, ...]) -> TrainState:
    if not fields:
        return state
    return replace(state, algorithm=state.algorithm.replace(**dict.fromkeys(fields)))
