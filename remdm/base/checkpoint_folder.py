"""The folder of a checkpoint, ours or a public one: the names of its files, and how to find them.

A training run of the public implementations leaves `policies/<frames>/default/`, a flax `TrainState` that
Orbax wrote, and, if it trains a planner, `policies/resume_metadata.json`.
"""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remdm.base.errors import UserError
from remdm.base.files import read_json

METADATA = "metadata.json"  # in our checkpoints: describes the checkpoint
TREE = "_METADATA"  # by Orbax: describes the arrays
RECORD = "resume_metadata.json"  # of public planners: the configuration of the training
SHOWN_NAMES = 3


class _Metadata(BaseModel):
    """The entries of `metadata.json` that are read; each may be missing, and others are allowed."""

    model_config = ConfigDict(strict=True, extra="allow")
    kind: str | None = None
    env_name: str | None = None
    network: dict[str, Any] = {}
    update_step: int | None = Field(None, ge=0)
    frames: int | None = Field(None, ge=0)
    devices: int = Field(1, ge=1, le=2**16)
    wandb_run_id: str | None = Field(None, pattern=r"^[\w-]+$")


def is_public(path: Path) -> bool:
    """Whether a checkpoint lacks our metadata, so that the shapes of its arrays must identify it."""
    return not (path / METADATA).exists()


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint.

    Raises:
        UserError: `path` is missing or no checkpoint of this project, or an entry is invalid.
    """
    if not path.is_dir():
        raise UserError(f"checkpoint {path}: no such folder")
    try:
        metadata = read_json(path / METADATA)
    except (OSError, ValueError):
        raise UserError(
            f"checkpoint {path}: contains no readable {METADATA}, so it is none of ours"
        ) from None
    if not isinstance(metadata, dict):
        raise UserError(f"checkpoint {path}: {METADATA} should be a JSON object")
    try:
        _Metadata.model_validate(metadata)
    except ValidationError as error:
        [first, *_] = error.errors()
        wanted = first["msg"].removeprefix("Input ")
        raise UserError(
            f"checkpoint {path}: {first['loc'][0]} = {first['input']!r} in {METADATA}: {wanted}"
        ) from None
    return metadata


def open_checkpoint(key: str, path: str | None, kind: str, env_name: str) -> tuple[Path, dict[str, Any]]:
    """The folder and the metadata of a checkpoint of a kind and a game.

    Args:
        key: the configuration key that named `path`, for messages.

    Raises:
        UserError: the path is null, there is no checkpoint, or it is of another kind or game.
    """
    if path is None:
        raise UserError(f"{key} = null: name the folder of a checkpoint of kind {kind}")
    folder = Path(path)
    try:
        metadata = read_metadata(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    for name, wanted in (("kind", kind), ("env_name", env_name)):
        if metadata.get(name) != wanted:
            raise UserError(f"{key} = {path}: its {name} is {metadata.get(name)}, but {wanted} is needed")
    return folder, metadata


def find_arrays(path: Path) -> Path:
    """The folder of the arrays of a public checkpoint; with several steps, that of the most frames.

    Args:
        path: a run's folder that contains `policies/`, `policies/`, a step in it, or the step's `default/`.

    Raises:
        UserError: there is none, or it is one of ours; the message lists what the folder contains.
    """
    if not path.is_dir():
        raise UserError(
            f"checkpoint {path}: {'is a file; name a folder' if path.exists() else 'no such folder'}"
        )
    steps = path / "policies" if (path / "policies").is_dir() else path
    names = sorted(entry.name for entry in steps.iterdir())
    frames = {name: n for name in names if (n := frames_in(name)) is not None and (steps / name).is_dir()}
    step = steps / max(frames, key=frames.__getitem__) if frames else path
    _refuse_ours(path, step)
    for folder in (step / "default", step):
        if (folder / TREE).is_file():
            return folder
    if frames or frames_in(path.name) is not None:
        raise UserError(f"checkpoint {path}: step {step.name} is incomplete: it has no default/{TREE}")
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    raise UserError(
        f"checkpoint {path}: no checkpoint found (contains {shown or 'no files'}); name a folder with "
        f"metadata.json, or the policies/ of Craftax_Baselines or of a public planner"
    )


def _refuse_ours(path: Path, step: Path) -> None:
    """Refuse a checkpoint of ours, whose items and numbered snapshots resemble public ones."""
    paths = [step, path]
    if (path / TREE).is_file():  # an item, such as `params/`
        paths.append(path.absolute().parent)
    for place in paths:
        if (place / METADATA).is_file():
            raise UserError(
                f"checkpoint {path}: leads to {place}, which is a checkpoint of ours, not a public one; name "
                f"the checkpoint/ of a finished run"
            )


def step_of(folder: Path) -> int | None:
    """The frames of training of a folder that `find_arrays` returned, from the names of its parents."""
    found = map(frames_in, folder.absolute().parts[:-3:-1])
    return next((frames for frames in found if frames is not None), None)


def frames_in(name: str) -> int | None:
    """The frames in the name of a step: `1840`, or `1e9` or `1000000000.0` if they were a float."""
    return int(float(name)) if re.fullmatch(r"\d+(\.0*)?(e\+?\d\d?)?", name, re.ASCII) else None


def find_record(folder: Path) -> Path | None:
    """The record next to the steps of a public planner, if any, given its arrays' folder or a parent."""
    places = (folder, *folder.absolute().parents[:2])
    return next((place / RECORD for place in places if (place / RECORD).exists()), None)
