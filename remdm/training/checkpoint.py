"""Checkpoints: weights by Orbax, and beside them JSON that says what they are."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from remdm.config.base import UserError

METADATA = "metadata.json"
ARRAYS = "arrays"


def save(path: Path, arrays: Any, metadata: dict[str, Any]) -> None:
    """Write a pytree of arrays and its metadata as the folder `path`, all of it or nothing.

    Everything is written beside `path` first and renamed into place, so a killed process leaves no
    half checkpoint under the name.
    """
    path = path.absolute()
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(partial / ARRAYS, jax.tree.map(np.asarray, arrays))
    (partial / METADATA).write_text(json.dumps(metadata, indent=2) + "\n")
    replaced = _replaced(path)
    if path.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(path, replaced)
        os.replace(partial, path)
        shutil.rmtree(replaced)
    else:
        os.replace(partial, path)


def recover(path: Path) -> None:
    """Take the old checkpoint back if a process died between moving it away and the new one in."""
    replaced = _replaced(path.absolute())
    if not path.exists() and replaced.exists():
        os.replace(replaced, path)


def _replaced(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


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


def restore(path: Path, like: Any) -> Any:
    """Read the arrays of a checkpoint into the structure of `like`, on whatever devices are here.

    Args:
        like: a pytree of arrays or `jax.ShapeDtypeStruct`.

    Raises:
        UserError: unreadable, or an array's shape or type differs; the message names the first.
    """
    # Restored as numpy: the devices that the arrays were saved on need not exist here.
    args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            arrays = checkpointer.restore(path.absolute() / ARRAYS, item=like, restore_args=args)
    except Exception as error:  # Orbax raises many types; all mean that this folder cannot be read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"checkpoint {path}: cannot be restored ({reason})") from error
    _check_same(path, like, arrays)
    return jax.tree.map(lambda array, want: np.asarray(array, want.dtype), arrays, like)


def _check_same(path: Path, like: Any, arrays: Any) -> None:
    for (where, want), array in zip(
        jax.tree_util.tree_leaves_with_path(like), jax.tree.leaves(arrays), strict=True
    ):
        if want.shape != array.shape or want.dtype != array.dtype:
            raise UserError(
                f"checkpoint {path}: array {jax.tree_util.keystr(where)} is "
                f"{array.dtype}{list(array.shape)}, but {want.dtype}{list(want.shape)} is needed"
            )
