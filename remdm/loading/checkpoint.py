"""The metadata that stages write next to weights, and reading a checkpoint that a user names."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from remdm.base.checkpoint_folder import find_arrays, is_public, read_metadata, step_of
from remdm.base.errors import UserError
from remdm.config.base import Section
from remdm.envs.craftax import Game
from remdm.experts.baselines import recognise
from remdm.training import checkpoint
from remdm.training.public import PublicNetwork, Shapes, as_ours, describe_game

logger = logging.getLogger("remdm")

Recognise = Callable[[Path, Shapes], PublicNetwork]
S = TypeVar("S", bound=Section)
P = TypeVar("P", bound=PublicNetwork)


@dataclass(frozen=True)
class PublicCheckpoint:
    """The content of a public checkpoint.

    Attributes:
        folder: the folder of its arrays.
        frames: frames of training, if the folder is named after them.
        arrays: its parameters in float32, by their public names.
    """

    folder: Path
    frames: int | None
    model: PublicNetwork
    arrays: dict[str, np.ndarray]

    def params(self) -> Any:
        """The parameters in the structure of our network."""
        shapes = self.model.shapes()
        leaves = [self.arrays[self.model.public_name(name)] for name in checkpoint.named(shapes)]
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def describe(
    kind: str, env_name: str, network: Section, update: int, frames_per_update: int
) -> dict[str, Any]:
    """Metadata from which the network can be rebuilt; `kind` is `expert` or `planner`."""
    return {
        "kind": kind,
        "env_name": env_name,
        "network": network.model_dump(),
        "update_step": update,
        "frames": update * frames_per_update,
    }


def rebuild(
    model: type[S], folder: Path, metadata: dict[str, Any], earlier: Mapping[str, Any] | None = None
) -> S:
    """The network section of a checkpoint's metadata.

    Args:
        earlier: values of keys that did not exist when the checkpoint was written.

    Raises:
        UserError: the section is not one that this version of the project writes.
    """
    try:
        return model(**{**(earlier or {}), **metadata["network"]})
    except (KeyError, TypeError, ValidationError) as error:
        reason = str(error).splitlines()
        raise UserError(
            f"checkpoint {folder}: its network is not one of ours ({' '.join(reason[:2])})"
        ) from None


def network_as(path: Path, recognise: Recognise) -> PublicNetwork:
    """The network in a public checkpoint, without reading its arrays.

    Args:
        recognise: returns the network that has arrays of given shapes.

    Raises:
        UserError: `path` contains no checkpoint, or it is damaged.
    """
    folder = find_arrays(path)
    return recognise(folder, _shapes(checkpoint.stored_arrays(folder, "params")))


def _shapes(stored: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in as_ours(stored).items()}


def read_as(path: Path, recognise: Recognise) -> PublicCheckpoint:
    """The checkpoint of a training run of a public implementation.

    Raises:
        UserError: `path` contains no checkpoint, it is damaged, or a parameter is not finite.
    """
    folder = find_arrays(path)
    stored = checkpoint.stored_arrays(folder, "params")
    model = recognise(folder, _shapes(stored))
    arrays = {}
    for name, array in as_ours(checkpoint.read_arrays(folder, stored)).items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"checkpoint {folder}: array {name} is of {array.dtype}, but should be of floats")
        with np.errstate(over="ignore"):  # an overflow is refused below
            arrays[name] = np.asarray(array, np.float32)
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"checkpoint {folder}: array {name} is not finite; no policy can be made of it")
    return PublicCheckpoint(folder, step_of(folder), model, arrays)


def open_public(key: str, path: Path, wanted: type[P], game: Game, recognise: Recognise) -> tuple[P, Any]:
    """The network in a public checkpoint, and its parameters in the structure of our network.

    Args:
        key: the configuration key that named `path`, for messages.

    Raises:
        UserError: it contains no such network for this game.
    """
    try:
        found = read_as(path, recognise)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    model, widths = found.model, (game.shown_dim, game.num_actions)
    if not isinstance(model, wanted) or (model.obs_dim, model.num_actions) != widths:
        needed = {"expert": "an expert", "planner": "a planner"}[wanted.kind]
        raise UserError(f"{key} = {path}: is {model}, but {needed} is needed for {describe_game(*widths)}")
    logger.info("%s: %s; from %s", model.kind, model, found.folder)
    return model, found.params()


def trained_frames(path: str | None) -> int | None:
    """Frames of training of a checkpoint, ours or public; None without checkpoint or if not recorded.

    Raises:
        UserError: `path` contains no checkpoint, or it is damaged.
    """
    if path is None:
        return None
    if is_public(Path(path)):
        return step_of(find_arrays(Path(path)))
    frames: int | None = read_metadata(Path(path)).get("frames")
    return frames


def refuse_public(path: Path, wanted: str) -> NoReturn:
    """Refuse a public checkpoint where one of ours is needed.

    Raises:
        UserError: always; the message describes the checkpoint.
    """
    raise UserError(f"checkpoint {path}: is {network_as(path, recognise)}, but a {wanted} of ours is needed")
