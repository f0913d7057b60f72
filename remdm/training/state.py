"""The whole state of a run, which is saved and loaded to resume it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import AbstractMesh, Mesh

from remdm.base.checkpoint_folder import read_metadata
from remdm.base.errors import UserError
from remdm.base.fields import Role, fields_with, roles_of
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm
from remdm.training.devices import known_to_all, layout, mesh_of, place, size, traced_on

logger = logging.getLogger("remdm")


@struct.dataclass
class TrainState:
    """An algorithm's state and what the loop adds to it; [R] if the algorithm is repeated."""

    algorithm: Any
    update: jax.Array  # [], updates done
    val_key: jax.Array  # of every validation of the run
    best_score: jax.Array  # [] or [R]
    best_update: jax.Array  # [] or [R], updates done when it was reached
    best_params: Any


@dataclass(frozen=True)
class Start:
    """A checkpoint from which a run starts, in place of fresh parameters.

    Attributes:
        update: updates that count as done.
        whole: whether its whole training state is used, optimiser and games included, or its parameters.
        params: its parameters, if they have been read already.
    """

    checkpoint: Path
    update: int
    whole: bool
    params: Any = None


def fresh_state(algorithm: Algorithm, key: jax.Array, mesh: Mesh | AbstractMesh | None = None) -> TrainState:
    """The state before the first update."""
    init_key, val_key = jax.random.split(key)
    with traced_on(mesh):
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


def to_items(state: TrainState, with_buffer: bool) -> dict[str, Any]:
    """The items of a checkpoint of a state, without the fields that are given to the run."""
    items: dict[str, Any] = {"training": _without(state, Role.GIVEN, Role.REFILLABLE)}
    if with_buffer and (buffer := _refillable(state)):
        items["buffer"] = buffer
    return items


def state_shapes(algorithm: Algorithm, mesh: Mesh | AbstractMesh | None) -> TrainState:
    """Shapes and types of the state on these devices."""
    return jax.eval_shape(lambda: fresh_state(algorithm, jax.random.PRNGKey(0), mesh))


def from_items(
    algorithm: Algorithm, key: jax.Array | np.ndarray, folder: Path, mesh: Mesh | None = None
) -> TrainState:
    """The state in a checkpoint; fields that it lacks are as before the first update.

    It may have been saved on another number of devices.

    Raises:
        UserError: it cannot be read, or its arrays differ; the message names the first.
    """
    shapes = state_shapes(algorithm, mesh)
    shardings = layout(mesh, algorithm, shapes)
    saved_on = read_metadata(folder).get("devices", 1)  # 1 in checkpoints older than this key
    try:
        saved_shapes = state_shapes(algorithm, mesh_of(saved_on))
    except ValueError:
        raise UserError(
            f"checkpoint {folder}: devices = {saved_on}: cannot have shared this run's environments evenly"
        ) from None
    afresh = {Role.GIVEN} if saved_on == size(mesh) else {Role.GIVEN, Role.PER_DEVICE}

    training = _without(saved_shapes, Role.GIVEN, Role.REFILLABLE)
    kept = checkpoint.named(checkpoint.restore(folder, "training", training))
    if checkpoint.has(folder, "buffer"):
        like = _as_long_as_saved(_refillable(saved_shapes), checkpoint.array_shapes(folder, "buffer"))
        buffer = checkpoint.named(checkpoint.restore(folder, "buffer", like))
        kept |= {f"algorithm/{name}": x for name, x in buffer.items()}
    else:
        afresh.add(Role.REFILLABLE)
        for name in _refillable(shapes):
            logger.warning("checkpoint %s: contains no %s, which starts empty and refills", folder, name)
    roles = checkpoint.named(roles_of(shapes))

    def fresh_part(tree: TrainState) -> dict[str, Any]:
        return {name: x for name, x in checkpoint.named(tree).items() if roles[name] & afresh}

    # XLA does not compute the rest of the fresh state.
    make_fresh = jax.jit(
        lambda key: fresh_part(fresh_state(algorithm, key, mesh)),
        out_shardings=None if shardings is None else fresh_part(shardings),
    )
    fresh = known_to_all(make_fresh, key)(key)
    leaves = [
        fresh[name] if name in fresh else _fitted(kept[name], shape.shape)
        for name, shape in checkpoint.named(shapes).items()
    ]
    return place(jax.tree.unflatten(jax.tree.structure(shapes), leaves), shardings)


def _as_long_as_saved(buffer: Any, saved: Mapping[str, jax.ShapeDtypeStruct]) -> Any:
    """A buffer's shapes, with fewer rows if the saved one has fewer, as that of a shorter run."""

    def shape(name: str, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        rows = min(x.shape[:1], saved.get(name, x).shape[:1])
        return jax.ShapeDtypeStruct((*rows, *x.shape[1:]), x.dtype)

    leaves = [shape(name, x) for name, x in checkpoint.named(buffer).items()]
    return jax.tree.unflatten(jax.tree.structure(buffer), leaves)


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array of another shape: rows at its end, which are never used, are removed or added."""
    if array.shape == shape:
        return array
    fitted = np.zeros(shape, array.dtype)
    common = tuple(slice(min(sizes)) for sizes in zip(array.shape, shape, strict=True))
    fitted[common] = array[common]
    return fitted


def first_state(
    algorithm: Algorithm, key: jax.Array | np.ndarray, start: Start | None, mesh: Mesh | None = None
) -> TrainState:
    """The state from which a run starts.

    Args:
        mesh: the devices that share it, if there are several.

    Raises:
        UserError: the checkpoint of `start` does not fit.
    """
    shardings = layout(mesh, algorithm, state_shapes(algorithm, mesh))
    jitted = jax.jit(lambda key: fresh_state(algorithm, key, mesh), out_shardings=shardings)
    fresh = known_to_all(jitted, key)
    if start is None:
        return fresh(key)
    if start.whole:
        state = from_items(algorithm, key, start.checkpoint, mesh)
        params = algorithm.params(state.algorithm)
    else:
        state = fresh(key)
        like = algorithm.part(state.best_params, 0)
        params = start.params or checkpoint.restore(start.checkpoint, "params", like)
        params = jax.tree.map(lambda x, all_: np.broadcast_to(x, all_.shape), params, state.best_params)
    assert algorithm.adopt is not None
    state = replace(
        state,
        algorithm=algorithm.adopt(state.algorithm, params, start.update),
        update=jnp.asarray(start.update, jnp.int32),
    )
    return place(state, shardings)


def one(algorithm: Algorithm, state: TrainState, repeat: int) -> TrainState:
    """The state of one repetition."""
    own = ("best_score", "best_update", "best_params")
    best = algorithm.part({name: getattr(state, name) for name in own}, repeat)
    return replace(state, algorithm=algorithm.one(state.algorithm, repeat), **best)


def _without(state: TrainState, *roles: Role) -> TrainState:
    own = state.algorithm
    return replace(state, algorithm=replace(own, **dict.fromkeys(fields_with(own, *roles))))


def _refillable(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state.algorithm, name) for name in fields_with(state.algorithm, Role.REFILLABLE)}
