"""The devices and processes of one training run.

A run is one program, data-parallel over all devices of JAX, including those of other hosts. All processes
make the same calls in the same order; only the first of them decides and writes.
"""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from orbax.checkpoint.multihost import get_barrier_sync_fn

from remdm.base.fields import Role, roles_of
from remdm.training.algorithm import Algorithm

AXIS = "data"
PIECE = 2**22  # array elements sent between processes at a time
SLOWEST = 3600  # seconds by which one process may be later than another

_meetings = itertools.count()


def data_mesh(algorithm: Algorithm) -> Mesh | None:
    """All devices along one axis; None if there is only one device or nothing to split."""
    interpreted = jax.config.jax_disable_jit  # type: ignore[attr-defined]
    if jax.device_count() == 1 or interpreted:
        return None
    roles = roles_of(jax.eval_shape(algorithm.init, jax.random.PRNGKey(0)))
    if not any(Role.SPLIT in each for each in jax.tree.leaves(roles)):
        return None
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def mesh_of(count: int) -> AbstractMesh | None:
    """As `data_mesh`, of devices that need not exist: enough to compute the shapes of arrays on them."""
    return None if count == 1 else AbstractMesh((count,), (AXIS,), axis_types=(AxisType.Auto,))


def size(mesh: Mesh | None) -> int:
    """How many devices share the work."""
    return 1 if mesh is None else mesh.size


def traced_on(mesh: Mesh | AbstractMesh | None) -> AbstractContextManager[Any]:
    """A context in which programs are traced for these devices."""
    return nullcontext() if mesh is None else jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def layout(mesh: Mesh | None, algorithm: Algorithm, shapes: Any) -> Any:
    """The sharding of each array of a `TrainState`; None on one device."""
    if mesh is None:
        return None
    repeats = [None] * (algorithm.repeats > 1)

    def sharding(x: jax.ShapeDtypeStruct, roles: frozenset[Role]) -> NamedSharding:
        is_split = Role.SPLIT in roles and x.ndim > len(repeats)
        return NamedSharding(mesh, PartitionSpec(*repeats, AXIS) if is_split else PartitionSpec())

    return jax.tree.map(sharding, shapes, roles_of(shapes))


def replicated(mesh: Mesh | None) -> NamedSharding | None:
    """A copy on each device; None on one."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def place(tree: Any, shardings: Any) -> Any:
    """A tree whose numpy arrays are copied to the devices of their shardings; None is the only device."""

    # Copies: a buffer that numpy still owns cannot be donated.
    def bring(x: Any, sharding: NamedSharding | None = None) -> jax.Array:
        if isinstance(x, jax.Array) and (sharding is None or x.sharding == sharding):
            return x
        if sharding is None:
            return jax.numpy.array(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: jax.numpy.array(x[index]))

    return jax.tree.map(bring, tree) if shardings is None else jax.tree.map(bring, tree, shardings)


def to_host(tree: Any) -> Any:
    """Copies of a tree's arrays in this process's memory. All processes must call this."""

    def copy(x: Any) -> np.ndarray:
        here = not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
        return np.array(x) if here else _gathered(x)

    return jax.tree.map(copy, tree)


def _gathered(x: jax.Array) -> np.ndarray:
    """A whole array whose shards are in several processes.

    It is sent piece by piece, because no device has memory for a whole replay buffer.
    """
    whole = np.empty(x.shape, x.dtype)
    shards = x.sharding.devices_indices_map(x.shape)
    each: list[list[Any]] = [[] for _ in range(jax.process_count())]
    for device, place in shards.items():
        each[device.process_index].append(place)  # type: ignore[attr-defined]
    local = {shard.device: shard.data for shard in x.addressable_shards}
    for number, device in enumerate(device for device in shards if device in local):
        share = np.asarray(local[device])
        pieces = np.array_split(share.reshape(-1), max(1, -(-share.size // PIECE)))
        flat = np.concatenate([multihost_utils.process_allgather(piece) for piece in pieces], axis=1)
        for of_process, values in zip(each, flat, strict=True):
            whole[of_process[number]] = values.reshape(share.shape)
    return whole


def agreed(*values: int) -> tuple[int, ...]:
    """The numbers of the first process, in all processes, which must all call this."""
    if jax.process_count() == 1:
        return values
    return tuple(int(x) for x in multihost_utils.broadcast_one_to_all(np.array(values, np.int32)))


def meet() -> None:
    """Wait until all processes have called this.

    Communication between devices times out after half a minute, and one process may take longer than that
    to compile what another has compiled already. So they meet before a program runs for the first time.
    """
    get_barrier_sync_fn()(key=f"remdm {next(_meetings)}", timeout_ms=1000 * SLOWEST)


def known_to_all(jitted: Any, *arguments: Any) -> Callable[..., Any]:
    """A program, compiled for these arguments by all processes if there are several."""
    if jax.process_count() == 1:
        return jitted
    program = jitted.lower(*arguments).compile()
    meet()
    return program
