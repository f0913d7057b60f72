"""Checkpoints: arrays by Orbax in one folder an item, and beside them JSON that says what they are.

A checkpoint is a folder of items (`params`, `training`, `buffer`), `metadata.json`, and
`checksums.json`, which covers every other file. None of them can execute code when read.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from remdm.config.base import UserError
from remdm.config.files import to_disk

METADATA = "metadata.json"
CHECKSUMS = "checksums.json"
SHOWN_DIFFERENCES = 3


def save(path: Path, items: Mapping[str, Any], metadata: dict[str, Any]) -> None:
    """Write pytrees of arrays, by item, and their metadata as the folder `path`, all of it or nothing.

    Everything is written beside `path`, forced to the disk and renamed into place, so that neither
    a killed process nor a full disk leaves half a checkpoint under the name.

    Raises:
        UserError: the disk does not take it.
    """
    path = path.absolute()
    partial = path.with_name(f".{path.name}.partial")
    description = json.dumps(metadata, indent=2) + "\n"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with ocp.PyTreeCheckpointer() as checkpointer:
            for item, tree in items.items():
                checkpointer.save(partial / item, _nested(jax.tree.map(np.asarray, tree)))
        (partial / METADATA).write_text(description)
        (partial / CHECKSUMS).write_text(json.dumps(_checksums(partial), indent=2) + "\n")
        for written in (partial / CHECKSUMS, partial):
            to_disk(written)
        _replace(path, partial)
        to_disk(path.parent)
    except Exception as error:  # Orbax raises many types
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"checkpoint {path}: cannot be written ({_reason(error)})") from error


def _replace(path: Path, partial: Path) -> None:
    """Rename a whole folder into place; what it replaces is gone only after that."""
    replaced = path.with_name(f".{path.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        os.replace(path, replaced)
    os.replace(partial, path)
    shutil.rmtree(replaced, ignore_errors=True)


def _checksums(folder: Path, item: str = "") -> dict[str, str]:
    """SHA-256 of every file but the checksums themselves; the files are on the disk after it.

    Args:
        item: of which alone, and of what lies beside the items; empty for all.
    """
    sums = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and file.name != CHECKSUMS):
        if item and file.relative_to(folder).parts[0] not in (item, METADATA):
            continue
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            sums[file.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return sums


def verify(path: Path, item: str = "", needed: bool = False) -> None:
    """Compare a checkpoint with its checksums; files added to it are ignored.

    Args:
        item: which alone is compared; empty for all.
        needed: whether one without checksums is refused.

    Raises:
        UserError: a file is missing or changed; the message names the first.
    """
    record = path / CHECKSUMS
    if not record.exists() and not needed:
        return
    try:
        expected = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"checkpoint {path}: {CHECKSUMS} cannot be read") from None
    if not isinstance(expected, dict):
        raise UserError(f"checkpoint {path}: {CHECKSUMS} should hold an object")
    found = _checksums(path, item)
    for name, checksum in expected.items():
        compared = not item or name.split("/")[0] in (item, METADATA)
        if compared and found.get(name) != checksum:
            raise UserError(f"checkpoint {path}: {name} is damaged or missing (its checksum differs)")


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON of a checkpoint.

    Raises:
        UserError: `path` is missing or no checkpoint of this project.
    """
    if not path.is_dir():
        raise UserError(f"checkpoint {path}: no such folder")
    try:
        metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"checkpoint {path}: holds no readable {METADATA}, so it is none of ours") from None
    if not isinstance(metadata, dict):
        raise UserError(f"checkpoint {path}: {METADATA} should hold an object")
    return metadata


def has(path: Path, item: str) -> bool:
    """Whether a checkpoint holds an item."""
    return (path / item).is_dir()


def array_shapes(path: Path, item: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of an item's arrays, by name, without reading them.

    Raises:
        UserError: the item is missing or unreadable.
    """
    return {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for name, leaf in _named(_stored(path, item)).items()
    }


def restore(path: Path, item: str, like: Any) -> Any:
    """Read an item of a checkpoint into the structure of `like`, as numpy arrays.

    Args:
        like: a pytree of arrays or `jax.ShapeDtypeStruct`.

    Raises:
        UserError: damaged, unreadable, or an array is missing, superfluous, or of another shape or
            type; the message names the first of them.
    """
    verify(path, item)
    stored = _stored(path, item)
    _check_same(path, _named(like), _named(stored))
    # Restored as numpy: the devices that the arrays were saved on need not exist here.
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            arrays = _named(checkpointer.restore(path.absolute() / item, restore_args=args))
    except Exception as error:
        raise _unreadable(path, item, error) from error
    leaves = [np.asarray(arrays[name], leaf.dtype) for name, leaf in _named(like).items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _stored(path: Path, item: str) -> Any:
    """What Orbax says of an item's arrays: a nested dictionary of shapes and types."""
    if not has(path, item):
        raise UserError(f"checkpoint {path}: holds no {item}")
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            return checkpointer.metadata(path.absolute() / item).item_metadata.tree
    except Exception as error:
        raise _unreadable(path, item, error) from error


def _unreadable(path: Path, item: str, error: Exception) -> UserError:
    """Orbax raises many types; all mean that this folder cannot be read."""
    return UserError(f"checkpoint {path}: {item} cannot be restored ({_reason(error)})")


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _check_same(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    differences = []
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        there = _type(found[name]) if name in found else "absent"
        here = f"{_type(wanted[name])} is" if name in wanted else "none is"
        if here != f"{there} is":
            differences.append(f"{name} is {there}, but {here} needed")
    if differences:
        more = len(differences) - SHOWN_DIFFERENCES
        shown = "; ".join(differences[:SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
        raise UserError(f"checkpoint {path}: array {shown}")


def _type(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by name, such as `learner/params/head/kernel`."""
    return {
        jax.tree_util.keystr(where, simple=True, separator="/"): leaf
        for where, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _nested(tree: Any) -> dict[str, Any]:
    """Any pytree as nested dictionaries, which is what Orbax keeps of it."""
    nested: dict[str, Any] = {}
    for name, leaf in _named(tree).items():
        *parents, last = name.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = leaf
    return nested
