"""The file that `collect` writes, and its reader, which needs numpy but not JAX."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar, get_type_hints

import numpy as np

from remdm.base.arrays import Header, open_npz, read_array, read_header
from remdm.base.errors import UserError, reason_of
from remdm.base.files import LARGEST_JSON

T = TypeVar("T")

METADATA = "metadata"  # JSON in an array of one string, so that numpy reads it without pickle
AFTER_ACTION = "after_action"
DTYPES = {"obs": np.float32, "actions": np.int32, "rewards": np.float32, "dones": np.bool_}


class TrajectoryMetadata(NamedTuple):
    """The metadata of a file of trajectories."""

    dones: str  # the convention: AFTER_ACTION means that with `dones[e, t]` the episode ends with action t
    env_name: str
    num_envs: int
    num_steps: int  # of each environment
    seed: int
    expert_digest: str | None  # of the expert's checkpoint, as in `run.json`; None if the run has no origin
    remdm_version: str


class CollectedTrajectories(NamedTuple):
    """Steps of E environments, T of each."""

    obs: np.ndarray  # [E, T, D] float32, before the action
    actions: np.ndarray  # [E, T] int32
    rewards: np.ndarray  # [E, T] float32
    dones: np.ndarray  # [E, T] bool, whether the episode ends with the action
    metadata: TrajectoryMetadata


def load_trajectories(path: str | Path) -> CollectedTrajectories:
    """Read the `trajectories.npz` of `remdm collect` into memory, 4 D + 9 bytes a frame.

    Raises:
        UserError: the file is missing, damaged or not of `collect`, its arrays do not match its metadata, or
            its metadata names another convention of `dones`.
    """
    path = Path(path)
    with _opened(path) as archive:
        if f"{METADATA}.npy" not in archive.namelist():
            raise UserError(
                f"{path}: has no {METADATA}: older code or another program wrote it; run remdm collect again"
            )
        metadata = _metadata(path, archive)
        for name in DTYPES:
            _check_header(path, name, _reading(path, archive, name, read_header), metadata)
        arrays = {name: _reading(path, archive, name, read_array) for name in DTYPES}
    return CollectedTrajectories(**arrays, metadata=metadata)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return open_npz(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except Exception as error:  # zipfile raises many types
        raise UserError(f"{path}: is no .npz file, or a truncated one ({error})") from None


def _reading(path: Path, archive: zipfile.ZipFile, name: str, read: Callable[..., T]) -> T:
    try:
        return read(archive, name)
    except Exception as error:  # zipfile, zlib and numpy raise many types
        raise UserError(f"{path}: {name} cannot be read ({reason_of(error)})") from None


def _metadata(path: Path, archive: zipfile.ZipFile) -> TrajectoryMetadata:
    types = get_type_hints(TrajectoryMetadata)
    size = archive.getinfo(f"{METADATA}.npy").file_size
    if size > LARGEST_JSON:
        raise UserError(f"{path}: {METADATA} has {size:,} bytes, more than {LARGEST_JSON:,}")
    array = _reading(path, archive, METADATA, read_array)
    try:
        fields = json.loads(str(array))
        metadata = TrajectoryMetadata(**{key: fields[key] for key in types})
    except (ValueError, RecursionError, TypeError, KeyError):
        raise UserError(f"{path}: {METADATA} should be a JSON object with {', '.join(types)}") from None
    for key, type_ in types.items():
        value = getattr(metadata, key)
        if not isinstance(value, type_):
            expected = getattr(type_, "__name__", type_)
            raise UserError(f"{path}: {METADATA}: {key} = {value!r}: should be {expected}")
    if metadata.dones != AFTER_ACTION:
        raise UserError(
            f"{path}: {METADATA}: dones = {metadata.dones!r}: must be {AFTER_ACTION!r}; "
            f"docs/method.md describes how to convert them"
        )
    return metadata


def _check_header(path: Path, name: str, header: Header, metadata: TrajectoryMetadata) -> None:
    dtype, shape = np.dtype(DTYPES[name]), header.shape
    steps = (metadata.num_envs, metadata.num_steps)
    axes, last = (3, ", D") if name == "obs" else (2, "")
    if header.dtype != dtype or shape[:2] != steps or len(shape) != axes:
        needed = f"{dtype}[{steps[0]}, {steps[1]}{last}]"
        raise UserError(f"{path}: {name} is {header.dtype}{list(shape)}, but {needed} is needed")
