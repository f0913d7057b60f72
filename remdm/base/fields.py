"""What the fields of a state are to the training loop, said in their annotations where the state is defined.

    @struct.dataclass
    class OnlineState:
        expert: Annotated[Policy, Role.GIVEN]

The loop asks for roles and knows no algorithm's fields.
"""

import dataclasses
from enum import Enum
from typing import Any

import jax


class Role(Enum):
    """What a field, and all within it, is."""

    GIVEN = "given to `init` and left alone by updates; never saved"
    REFILLABLE = "fills itself again, as a replay buffer does; saved only if that is wanted"
    SHARED = "the same for all repetitions of a run, as what is done at some updates alone must be"
    SPLIT = "has environments, or what comes of them, in front: each device holds its share"
    PER_DEVICE = "its shape depends on the number of devices; fills itself again"


def fields_with(state: Any, *roles: Role) -> tuple[str, ...]:
    """The names of a state's own fields that have one of some roles."""
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
