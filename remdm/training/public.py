"""Networks in public checkpoints, recognised by the shapes of their arrays."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from remdm.base.checkpoint_folder import SHOWN_NAMES
from remdm.base.errors import UserError
from remdm.config.base import WIDEST, Section
from remdm.config.layers import Layer
from remdm.training.checkpoint import named

# Width of an observation, and number of actions.
GAMES = {"Craftax-Classic-Symbolic-v1": (1345, 17), "Craftax-Symbolic-v1": (8268, 43)}
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PublicNetwork(ABC):
    """A network trained by a public implementation, as one of remdm's networks."""

    network: Section
    obs_dim: int
    num_actions: int
    kind: ClassVar[str]  # of policy
    source: ClassVar[str]

    @property
    def env_name(self) -> str | None:
        """The game it plays; None if remdm does not have that game."""
        return game_of(self.obs_dim, self.num_actions)

    @abstractmethod
    def shapes(self) -> Any:
        """The shapes of the parameters of remdm's network of this kind."""

    def layers(self, origin: str) -> list[Layer]:
        """The keys it implies in addition to those of its network; `origin` is for messages."""
        game = {"env_name": self.env_name} if self.env_name else {}
        return [Layer(origin, {"policy": self.kind} | game)]

    def public_name(self, name: str) -> str:
        """The name of one of remdm's arrays in the public implementation."""
        return name

    def check(self, folder: Path, shapes: Shapes) -> None:
        """Refuse arrays that differ from those of the network.

        Raises:
            UserError: the message names the first array that differs.
        """
        wanted = {self.public_name(name): leaf.shape for name, leaf in named(self.shapes()).items()}
        for name in [*wanted, *shapes]:
            if wanted.get(name) != shapes.get(name):
                there, needed = (list(x[name]) if name in x else "absent" for x in (shapes, wanted))
                raise UserError(
                    f"checkpoint {folder}: is not quite {self}: its array {name} is {there}, "
                    f"but should be {needed}"
                )


def game_of(obs_dim: int, num_actions: int) -> str | None:
    """The game with so many entries of an observation and actions; None if remdm does not have it."""
    return next((name for name, widths in GAMES.items() if widths == (obs_dim, num_actions)), None)


def describe_game(obs_dim: int, num_actions: int) -> str:
    """A game in words."""
    name = game_of(obs_dim, num_actions)
    which = f", which is {name}" if name else ", which is no game of ours"
    return f"observations of {obs_dim} and {num_actions} actions{which}"


def as_ours(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays below `params` by the names that remdm gives them: flax adds another `params` in front."""
    doubled = all(name.startswith("params/params/") for name in arrays)
    return {name.removeprefix("params/") if doubled else name: x for name, x in arrays.items()}


def is_planner(shapes: Shapes) -> bool:
    """Whether arrays are those of a transformer over tokens."""
    return any(name.startswith(("params/Embed_", "params/TransformerBlock_")) for name in shapes)


def sizes_of(folder: Path, shapes: Shapes, needed: Mapping[str, int], what: str) -> list[tuple[int, ...]]:
    """The shapes of the arrays that identify a network.

    Args:
        needed: how many axes each array must have.
        what: the networks with such arrays, for the message.

    Raises:
        UserError: an array is missing, or of a size that no network has.
    """
    found = [shapes.get(name, ()) for name in needed]
    for shape, axes in zip(found, needed.values(), strict=True):
        if len(shape) != axes or not all(0 < x <= WIDEST for x in shape):
            raise UserError(f"checkpoint {folder}: is no {what}, but has the arrays {_shown(shapes)}")
    return found


def _shown(shapes: Shapes) -> str:
    shown = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:SHOWN_NAMES])
    return shown + (f" and {len(shapes) - SHOWN_NAMES} more" if len(shapes) > SHOWN_NAMES else "")
