"""Checkpoints: arrays written by Orbax, one folder per item, and JSON that describes them.

A checkpoint is a folder of items (`params`, `training`, `buffer`), `metadata.json`, and
`checksums.json`, which covers every other file. Reading them cannot execute code.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from flax.serialization import msgpack_restore
from flax.traverse_util import unflatten_dict

from remdm.base.checkpoint_folder import METADATA, TREE
from remdm.base.errors import UserError, reason_of
from remdm.base.files import folder_to_disk, is_utf8, missing_feature, read_json, replace, to_disk

logger = logging.getLogger("remdm")

CHECKSUMS = "checksums.json"
# The file in which early versions of Orbax stored the arrays of a single device.
AGGREGATE = "checkpoint"
ARRAY_TYPES = ("jax.Array", "np.ndarray", "scalar")
SHOWN_DIFFERENCES = 3
# Most that parameters may unpack to: bytes, or a multiple of their files. Trained ones hardly compress.
UNPACKED_BYTES = 2**26
UNPACKED_RATIO = 100


@cache
def _ignore_late_writes() -> None:
    """Suppress, from the first save on, the tracebacks of writes that end after another one failed.

    Orbax closes its event loop at the first error; each write that ends later finds it closed, and
    TensorStore would print a traceback for it, in addition to the one line that names the error.
    """
    shown = sys.unraisablehook

    def unraisablehook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            shown(unraisable)

    sys.unraisablehook = unraisablehook


def save(path: Path, items: Mapping[str, Any], metadata: dict[str, Any]) -> None:
    """Write pytrees of arrays, by item, and their metadata as the folder `path`, completely or not at all.

    Everything is written to a folder next to `path`, synced to disk and renamed, so that neither a killed
    process nor a full disk leaves an incomplete checkpoint at `path`.

    Raises:
        UserError: it cannot be written.
    """
    _ignore_late_writes()
    path = path.absolute()
    partial = path.with_name(f".{path.name}.partial")
    description = json.dumps(metadata, indent=2) + "\n"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with _written_first(partial) as place, _checkpointer() as checkpointer:
            for item, tree in items.items():
                checkpointer.save(place / item, _nested(tree))
        (partial / METADATA).write_text(description)
        (partial / CHECKSUMS).write_text(json.dumps(_checksums(partial), indent=2) + "\n")
        to_disk(partial / CHECKSUMS)
        folder_to_disk(partial)
        replace(path, partial)
    except Exception as error:  # Orbax raises many types
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"checkpoint {path}: cannot be written ({reason_of(error)})") from error


def _checkpointer() -> ocp.Checkpointer:
    """Orbax's writer for this process only; by default, it waits for all processes to write their part."""
    index = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=index, active_processes={index})
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


@contextmanager
def _written_first(folder: Path) -> Iterator[Path]:
    """Where Orbax writes the contents of a folder: there, or elsewhere if the file system lacks a feature."""
    missing = missing_feature(folder)
    if missing is None:
        yield folder
        return
    with TemporaryDirectory(prefix="remdm-checkpoint-") as place:
        _warn_of_copying(folder.parent, missing, Path(place).parent)
        yield Path(place)
        shutil.copytree(place, folder, dirs_exist_ok=True)


@cache
def _warn_of_copying(folder: Path, missing: str, place: Path) -> None:
    logger.warning(
        "%s: its file system cannot %s: checkpoints are written to %s (TMPDIR) and copied",
        folder,
        missing,
        place,
    )


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file except the checksums; all files are synced to disk before it returns."""
    sums = {}
    for name, file in _files(folder).items():
        to_disk(file)
        sums[name] = _sha256(file)
    return sums


def _files(folder: Path) -> dict[str, Path]:
    """Every file except the checksums, by its name within the folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != CHECKSUMS)
    return {file.relative_to(folder).as_posix(): file for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: Path, item: str = "", needed: bool = False) -> None:
    """Compare a checkpoint with its checksums; files added to it are ignored.

    Args:
        item: the only item to compare; empty for all.
        needed: whether a checkpoint without checksums is refused.

    Raises:
        UserError: a file is missing, changed or unreadable; the message names the first.
    """
    record = path / CHECKSUMS
    if not record.exists() and not needed:
        return
    try:
        expected = read_json(record)
    except (OSError, ValueError):
        raise UserError(f"checkpoint {path}: {CHECKSUMS} cannot be read") from None
    if not isinstance(expected, dict):
        raise UserError(f"checkpoint {path}: {CHECKSUMS} must contain a JSON object")
    files = _files(path)
    for name, checksum in expected.items():
        if item and name.split("/")[0] not in (item, METADATA):
            continue
        try:
            same = name in files and _sha256(files[name]) == checksum
        except OSError as error:
            raise UserError(f"checkpoint {path}: {name} cannot be read ({error.strerror})") from None
        if not same:
            raise UserError(f"checkpoint {path}: {name} is damaged or missing (its checksum differs)")


def has(path: Path, item: str) -> bool:
    """Whether a checkpoint contains an item."""
    return (path / item).is_dir()


def array_shapes(path: Path, item: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of an item's arrays, by name, without reading them.

    Raises:
        UserError: the item is missing or unreadable.
    """
    return {name: jax.ShapeDtypeStruct(x.shape, _dtype(x)) for name, x in _item(path, item).items()}


def restore(path: Path, item: str, like: Any) -> Any:
    """Read an item of a checkpoint into the structure of `like`, as numpy arrays.

    Args:
        like: a pytree of arrays or `jax.ShapeDtypeStruct`.

    Raises:
        UserError: damaged, unreadable, or an array is missing, superfluous, or of another shape or
            type; the message names the first of them.
    """
    verify(path, item)
    stored, wanted = _item(path, item), named(like)
    _check_same(path, wanted, stored)
    if item == "params":  # other shapes follow from the configuration, and a buffer may be almost empty
        _check_unpacked(path / item, stored)
    arrays = read_arrays(path / item, stored)
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def stored_arrays(folder: Path, below: str) -> dict[str, "ts.TensorStore | np.ndarray"]:
    """The arrays, by name and not read yet, of a folder that any version of Orbax wrote.

    Args:
        below: the part of the tree that contains them, such as `params`.

    Raises:
        UserError: damaged or empty; the message names the array.
    """
    stored = _open(folder, below)
    if not stored:
        raise _damaged(folder, f"it contains no array below {below}")
    _check_unpacked(folder, stored)
    return stored


def read_arrays(folder: Path, stored: Mapping[str, "ts.TensorStore | np.ndarray"]) -> dict[str, np.ndarray]:
    """Read the arrays of `stored_arrays`.

    Raises:
        UserError: damaged or unreadable; the message names the array.
    """
    reading = {name: x.read() for name, x in stored.items() if isinstance(x, ts.TensorStore)}
    return {**stored, **_results(folder, reading)}


def _item(path: Path, item: str) -> dict[str, "ts.TensorStore | np.ndarray"]:
    if not has(path, item):
        raise UserError(f"checkpoint {path}: contains no {item}")
    return _open(path / item)


# Orbax writes arrays; we read them with TensorStore, because Orbax fills missing data of old checkpoints with
# zeros, logs a traceback for every other array if one is damaged, and needs the devices they were saved on.
def _open(folder: Path, below: str = "") -> dict[str, "ts.TensorStore | np.ndarray"]:
    """All arrays of a folder, or those below a part of its tree; only those of `AGGREGATE` are read yet."""
    folder = Path(os.path.realpath(folder))  # TensorStore accepts no path with `..`
    if not is_utf8(str(folder)):  # nor any other text
        raise UserError(f"checkpoint {folder}: its path is not UTF-8; move it elsewhere")
    for file in folder.rglob("*"):
        if not (file.is_file() or file.is_dir()):
            raise _damaged(folder, f"{file.relative_to(folder)} is no regular file")
    try:
        record = read_json(folder / TREE)
        leaves = {
            "/".join(str(key["key"]) for key in leaf["key_metadata"]): leaf["value_metadata"]
            for leaf in record["tree_metadata"].values()
        }
        leaves = {name: leaf for name, leaf in leaves.items() if not below or name.startswith(f"{below}/")}
        if not all(map(is_utf8, leaves)):
            raise ValueError("a name is not UTF-8")
        apart = [name for name, leaf in leaves.items() if not leaf["skip_deserialize"]]
        together = [name for name, leaf in leaves.items() if leaf["skip_deserialize"]]
        together = [name for name in together if leaves[name]["value_type"] in ARRAY_TYPES]
        # Without the key, older records mean zarr, as in Orbax.
        driver = "zarr3" if record.get("use_zarr3") else "zarr"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder, f"{TREE} cannot be read") from None
    found = _aggregate(folder) if together else {}
    for name in together:
        if not isinstance(found.get(name), np.ndarray):
            raise _damaged(folder, f"array {name} is missing from {AGGREGATE}")
    opening = {name: ts.open(_spec(folder, name, driver), read=True) for name in apart}
    opened = _results(folder, opening)
    for name, array in opened.items():
        _check_chunks(folder, name, array)
    return {name: found[name] for name in together} | opened


def _check_chunks(folder: Path, name: str, array: "ts.TensorStore") -> None:
    """Refuse an array whose chunks may take more memory than the array."""
    for grid in (array.chunk_layout.read_chunk, array.chunk_layout.write_chunk):
        chunk = [part or 1 for part in grid.shape or ()]  # a scalar has none
        if any(part > max(1, whole) for part, whole in zip(chunk, array.shape, strict=True)):
            raise _damaged(folder, f"array {name}: its chunks {chunk} exceed its shape {list(array.shape)}")
    # TensorStore unpacks a whole chunk of blosc, whatever the shape; of other formats, only what it needs.
    if '"blosc"' in json.dumps(array.spec().to_json()):
        raise _damaged(folder, f"array {name}: is packed with blosc, which Orbax never uses")


def _check_unpacked(folder: Path, arrays: Mapping[str, "ts.TensorStore | np.ndarray"]) -> None:
    """Refuse arrays that are far larger than the files they are in, before memory is allocated for them."""
    size = sum(math.prod(array.shape) * _dtype(array).itemsize for array in arrays.values())
    stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > max(UNPACKED_BYTES, UNPACKED_RATIO * stored):
        raise _damaged(folder, f"its arrays take {size:,} bytes, but its files have {stored:,}")


def _spec(folder: Path, name: str, driver: str) -> dict[str, Any]:
    """TensorStore's specification of an array; missing data are an error."""
    place = name.replace("/", ".") + "/"
    base = {"driver": "file", "path": f"{folder}/"}
    store = {"driver": "ocdbt", "base": base, "path": place}
    if not (folder / "manifest.ocdbt").exists():
        store = {"driver": "file", "path": f"{folder}/{place}"}
    return {"driver": driver, "kvstore": store, "fill_missing_data_reads": False}


def _aggregate(folder: Path) -> dict[str, Any]:
    """The arrays of the one file in which Orbax of 2024 and earlier stored those of a single device."""
    try:
        return named(msgpack_restore((folder / AGGREGATE).read_bytes()))
    except Exception as error:  # msgpack raises many types
        raise _damaged(folder, f"{AGGREGATE} cannot be read: {reason_of(error)}") from None


def _results(folder: Path, futures: Mapping[str, "ts.Future"]) -> dict[str, Any]:
    results = {}
    for name, future in futures.items():
        try:
            results[name] = future.result()
        except ValueError as error:
            reason = reason_of(error).partition(" [tensorstore_spec=")[0]
            raise _damaged(folder, f"array {name}: {reason}") from None
    return results


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"checkpoint {folder.parent}: {folder.name} cannot be restored (damaged: {reason})")


def _check_same(path: Path, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    differences = []
    for name in {**wanted, **found}:
        stored = _type(found[name]) if name in found else "absent"
        needed = _type(wanted[name]) if name in wanted else "none"
        if stored != needed:
            differences.append(f"{name} is {stored}, but {needed} is needed")
    if differences:
        more = len(differences) - SHOWN_DIFFERENCES
        shown = "; ".join(differences[:SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
        raise UserError(f"checkpoint {path}: array {shown}")


def _type(leaf: Any) -> str:
    return f"{_dtype(leaf)}{list(leaf.shape)}"


def _dtype(leaf: Any) -> np.dtype:
    return leaf.dtype.numpy_dtype if isinstance(leaf, ts.TensorStore) else np.dtype(leaf.dtype)


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by name, such as `learner/params/head/kernel`."""
    return {
        jax.tree_util.keystr(where, simple=True, separator="/"): leaf
        for where, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _nested(tree: Any) -> dict[str, Any]:
    """Any pytree as nested dictionaries of numpy arrays, as Orbax stores it."""
    return unflatten_dict({name: np.asarray(leaf) for name, leaf in named(tree).items()}, sep="/")
