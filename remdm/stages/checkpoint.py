"""What the stages write beside weights, and how they take a checkpoint that a user names."""

from pathlib import Path
from typing import Any

from remdm.config.base import UserError
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm


def describe(kind: str, env_name: str, network: dict[str, Any], algorithm: Algorithm) -> dict[str, Any]:
    """Metadata from which the network can be rebuilt; `kind` is `expert` or `planner`."""
    return {
        "kind": kind,
        "env_name": env_name,
        "network": network,
        "update_step": algorithm.num_updates,
        "frames": algorithm.num_updates * algorithm.frames_per_update,
    }


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
