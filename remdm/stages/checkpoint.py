"""What the stages write beside weights, and how they take a checkpoint that a user names."""

import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from remdm.config.base import Section, UserError
from remdm.training import checkpoint

S = TypeVar("S", bound=Section)


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


def section(config: Section, model: type[S]) -> S:
    """The part of a configuration that a section holds."""
    return model(**config.model_dump(include=set(model.model_fields)))


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
    metadata = checkpoint.read_metadata(path)
    checkpoint.verify(path)
    shapes = checkpoint.array_shapes(path, "params")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    told = {
        "kind": metadata.get("kind"),
        "game": metadata.get("env_name"),
        "trained": f"{metadata.get('update_step')} updates, {metadata.get('frames')} frames",
        "parameters": f"{sum(math.prod(shape.shape) for shape in shapes.values()):,}",
        **metadata.get("network", {}),
        "can go on": _can_go_on(path),
        "W&B run": metadata.get("wandb_run_id"),
        "size": f"{size / 1e6:.1f} MB, checksums right",
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _can_go_on(path: Path) -> str:
    if not checkpoint.has(path, "training"):
        return "from its weights alone"
    return "from its whole state" + (", buffer included" if checkpoint.has(path, "buffer") else "")
