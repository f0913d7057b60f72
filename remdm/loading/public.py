"""Load public checkpoints of experts and planners, and describe any checkpoint."""

import math
from pathlib import Path

from remdm.base.checkpoint_folder import is_public, read_metadata
from remdm.experts import baselines
from remdm.loading.checkpoint import PublicCheckpoint, network_as, read_as
from remdm.planners import public
from remdm.training import checkpoint
from remdm.training.public import PublicNetwork, Shapes, is_planner


def recognise(folder: Path, shapes: Shapes) -> PublicNetwork:
    """The expert or the planner that has parameters of given shapes.

    Raises:
        UserError: there is no such network.
    """
    return (public if is_planner(shapes) else baselines).recognise(folder, shapes)


def public_network(path: Path) -> PublicNetwork:
    """The network in a public checkpoint, without reading its arrays.

    Raises:
        UserError: `path` contains no checkpoint, or it is damaged.
    """
    return network_as(path, recognise)


def read_public(path: Path) -> PublicCheckpoint:
    """The expert or the planner that a training run of a public implementation left.

    Raises:
        UserError: `path` contains no checkpoint, it is damaged, or a parameter is not finite.
    """
    return read_as(path, recognise)


def summary(path: Path) -> dict[str, str]:
    """The description of a checkpoint in words, by topic.

    Raises:
        UserError: `path` contains no checkpoint, or it is damaged.
    """
    if is_public(path):
        return _summary_of_public(read_public(path))
    metadata = read_metadata(path)
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


def _summary_of_public(found: PublicCheckpoint) -> dict[str, str]:
    model = found.model
    played = {key: x for layer in model.layers("") for key, x in layer.values.items()}
    fields = {
        "kind": f"{model.kind}, of {model.source}",
        "game": model.env_name or "none of ours",
        "trained": None if found.frames is None else f"{found.frames} frames",
        "parameters": f"{sum(array.size for array in found.arrays.values()):,}",
        **model.network.model_dump(),
        "observations": model.obs_dim,
        "actions": model.num_actions,
        **{key: x for key, x in played.items() if key not in ("policy", "env_name")},
        "arrays in": found.folder,
        "size": _megabytes(found.folder),
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _megabytes(path: Path) -> str:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB"


def _resumable(path: Path) -> str:
    if not checkpoint.has(path, "training"):
        return "from its weights only"
    return "from its whole state" + (", buffer included" if checkpoint.has(path, "buffer") else "")
