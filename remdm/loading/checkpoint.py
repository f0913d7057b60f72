"""What the stages write beside weights, and how they take a checkpoint that a user names."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from pydantic import ValidationError

from remdm.base.errors import UserError
from remdm.config.base import Section
from remdm.experts.baselines import Baseline, as_ours, find_arrays, recognise, step_of
from remdm.training import checkpoint

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class PublicExpert:
    """A public checkpoint, read.

    Attributes:
        folder: of its arrays.
        frames: of training behind it, where the folder's name says so.
        arrays: its parameters by the names that ours have, in float32.
    """

    folder: Path
    frames: int | None
    baseline: Baseline
    arrays: dict[str, np.ndarray]

    def params(self) -> Any:
        """The parameters in the structure of our network."""
        shapes = self.baseline.shapes()
        named = checkpoint.named(shapes)
        return jax.tree.unflatten(jax.tree.structure(shapes), [self.arrays[name] for name in named])


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


def rebuild(model: type[S], folder: Path, metadata: dict[str, Any]) -> S:
    """The network section of a checkpoint's metadata.

    Raises:
        UserError: it is not what this version of the project writes.
    """
    try:
        return model(**metadata["network"])
    except (KeyError, TypeError, ValidationError) as error:
        reason = str(error).splitlines()
        raise UserError(
            f"checkpoint {folder}: its network is not one of ours ({' '.join(reason[:2])})"
        ) from None


def is_public(path: Path) -> bool:
    """Whether a checkpoint lacks the metadata that ours have, so that its arrays must say what it is."""
    return not (path / checkpoint.METADATA).exists()


def read_public(path: Path) -> PublicExpert:
    """The expert that a training run of Craftax_Baselines left.

    Raises:
        UserError: `path` holds none, or it is damaged.
    """
    folder = find_arrays(path)
    stored = checkpoint.stored_arrays(folder, "params")
    baseline = recognise(folder, {name: array.shape for name, array in as_ours(stored).items()})
    read = as_ours(checkpoint.read_arrays(folder, stored))
    arrays = {name: np.asarray(array, np.float32) for name, array in read.items()}
    return PublicExpert(folder, step_of(folder), baseline, arrays)


def trained_frames(path: str | None) -> int | None:
    """Frames of training behind a checkpoint, ours or public; None where there is none or it does not say.

    Raises:
        UserError: `path` holds none, or it is damaged.
    """
    if path is None:
        return None
    if is_public(Path(path)):
        return step_of(find_arrays(Path(path)))
    frames: int | None = checkpoint.read_metadata(Path(path)).get("frames")
    return frames


def refuse_public(path: Path, wanted: str) -> NoReturn:
    """Say of a checkpoint that is none of ours what it is, and what of ours is needed.

    Raises:
        UserError: always.
    """
    raise UserError(f"checkpoint {path}: is {read_public(path).baseline}, but a {wanted} of ours is needed")


def open_checkpoint(key: str, path: str | None, kind: str, env_name: str) -> tuple[Path, dict[str, Any]]:
    """Folder and metadata of a checkpoint, before anything is compiled or written.

    Args:
        key: the configuration key that named `path`, for messages.

    Raises:
        UserError: no path, no such checkpoint, of another kind, or of the other game.
    """
    if path is None:
        raise UserError(f"{key} = null: name the folder of a checkpoint of kind {kind}")
    folder = Path(path)
    try:
        if is_public(folder):
            refuse_public(folder, kind)
        metadata = checkpoint.read_metadata(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    for name, wanted in (("kind", kind), ("env_name", env_name)):
        if metadata.get(name) != wanted:
            raise UserError(f"{key} = {path}: its {name} is {metadata.get(name)}, but {wanted} is needed")
    return folder, metadata


def summary(path: Path) -> dict[str, str]:
    """What a checkpoint is, in words, by topic.

    Raises:
        UserError: `path` holds none, or it is damaged.
    """
    if is_public(path):
        return _summary_of_public(read_public(path))
    metadata = checkpoint.read_metadata(path)
    checkpoint.verify(path)
    has_checksums = (path / checkpoint.CHECKSUMS).exists()
    shapes = checkpoint.array_shapes(path, "params")
    fields = {
        "kind": metadata.get("kind"),
        "game": metadata.get("env_name"),
        "trained": f"{metadata.get('update_step')} updates, {metadata.get('frames')} frames",
        "parameters": f"{sum(math.prod(shape.shape) for shape in shapes.values()):,}",
        **metadata.get("network", {}),
        "resumable": _resumable(path),
        "W&B run": metadata.get("wandb_run_id"),
        "size": f"{_megabytes(path)}, {'checksums right' if has_checksums else 'no checksums'}",
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _summary_of_public(expert: PublicExpert) -> dict[str, str]:
    baseline = expert.baseline
    fields = {
        "kind": "expert, of Craftax_Baselines",
        "game": baseline.env_name or "none of ours",
        "trained": None if expert.frames is None else f"{expert.frames} frames",
        "parameters": f"{sum(array.size for array in expert.arrays.values()):,}",
        **baseline.network.model_dump(),
        "observations": baseline.obs_dim,
        "actions": baseline.num_actions,
        "arrays in": expert.folder,
        "size": _megabytes(expert.folder),
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _megabytes(path: Path) -> str:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB"


def _resumable(path: Path) -> str:
    if not checkpoint.has(path, "training"):
        return "from its weights alone"
    return "from its whole state" + (", buffer included" if checkpoint.has(path, "buffer") else "")
