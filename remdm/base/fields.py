"""The roles of a state's fields in the training loop, given as annotations where the state is defined.

    @struct.dataclass
    class OnlineState:
        expert: Annotated[Policy, Role.GIVEN]

The loop selects fields by role, so it does not depend on an algorithm.
"""

import dataclasses
from enum import Enum
from typing import Any

import jax


class Role(Enum):
    """The role of a field and of everything in it."""

    GIVEN = "given to `init` and not changed by updates; never saved"
    REFILLABLE = "refilled by training, such as a replay buffer; saved only on request"
    SHARED = "the same for all repetitions of a run; needed where it decides what an update does"
    SPLIT = "its first axis is environments, or derived from them: each device has its share"
    PER_DEVICE = "its shape depends on the number of devices; refilled by training"


def fields_with(state: Any, *roles: Role) -> tuple[str, ...]:
    """The names of a state's direct fields that have one of the roles."""
    return tuple(field.name for field in dataclasses.fields(state) if _roles(field) & set(roles))


def roles_of(tree: Any, inherited: frozenset[Role] = frozenset()) -> Any:
    """A tree of the same structure whose leaves are the sets of their roles."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        within = {
            field.name: roles_of(getattr(tree, field.name), inherited | _roles(field))
            for field in dataclasses.fields(tree)
            if field.metadata.get("pytree_node", True)
        }
        return dataclasses.replace(tree, **within)
    children, structure = jax.tree.flatten(tree, is_leaf=lambda x: x is not tree)
    if len(children) == 1 and children[0] is tree:  # a leaf; a node without children is none
        return inherited
    return jax.tree.unflatten(structure, [roles_of(child, inherited) for child in children])


def _roles(field: dataclasses.Field) -> frozenset[Role]:
    return frozenset(role for role in getattr(field.type, "__metadata__", ()) if isinstance(role, Role))
