"""A batch on several devices: environments, and what belongs to them, are split over the mesh.

The mesh is that of the context in which a program is traced (`jax.sharding.use_abstract_mesh`); it has one
axis. Without a mesh, as on one device, these functions change nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec


def num_shards() -> int:
    """Parts that a batch is split into."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.size


def split(tree: Any, axis: int = 0) -> Any:
    """Split one axis of all arrays over the devices, a part of a batch on each."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return tree
    spec = PartitionSpec(*[None] * axis, mesh.axis_names)
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, spec), tree)


def each_shard(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a batch that every device applies to its own part, without communication.

    Args:
        function: (shared, *batch) -> a batch; arrays of a batch have a leading axis of environments. Every
            device receives all of `shared`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return function
    whole, part = PartitionSpec(), PartitionSpec(mesh.axis_names)

    def apply(shared: Any, *batch: Any) -> Any:
        # Loops may end after a different number of iterations on each device, so variance is not checked.
        mapped = jax.shard_map(
            function, in_specs=(whole, *[part] * len(batch)), out_specs=part, check_vma=False
        )
        return mapped(shared, *batch)

    return apply


def own_key(key: jax.Array) -> jax.Array:
    """Within `each_shard`, a key only of this device; on one device, the key itself."""
    mesh = jax.sharding.get_abstract_mesh()
    return key if mesh.empty else jax.random.fold_in(key, jax.lax.axis_index(mesh.axis_names))
