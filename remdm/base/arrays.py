"""Reads untrusted `.npz` files: the memory used is limited by the size of the file."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remdm.base.files import check_regular

# The largest size to which the arrays of a file may unpack: bytes, or a multiple of the file's size.
# `collect` compresses zeros 230 times, and recordings stay below the bytes; deflate reaches 1,032 times, and
# the other methods of zip far more.
UNPACKED_BYTES = 2**26
UNPACKED_RATIO = 250
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Header(NamedTuple):
    """The header of an array, which is read before the array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def open_npz(path: Path) -> zipfile.ZipFile:
    """Open an `.npz` file, which the caller closes, after checking the size of its unpacked arrays.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is no regular file, or unpacks to more than is allowed.
        Exception: `zipfile.BadZipFile` and others: it is damaged.
    """
    check_regular(path)
    archive = zipfile.ZipFile(path)
    size, entries = path.stat().st_size, archive.infolist()
    unpacked, most = sum(entry.file_size for entry in entries), max(UNPACKED_BYTES, UNPACKED_RATIO * size)
    foreign = [entry.filename for entry in entries if entry.compress_type not in METHODS]
    if not foreign and unpacked <= most:
        return archive
    archive.close()
    if foreign:
        raise ValueError(f"{foreign[0]} is packed by another method than deflate")
    raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}, but at most {most:,} are read")


def read_header(archive: zipfile.ZipFile, name: str) -> Header:
    """The shape and type of an array.

    Raises:
        KeyError: there is no such array.
        ValueError: the header is invalid, or declares another number of bytes than the file contains.
    """
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"its format is {version}")
        shape, _, dtype = HEADERS[version](file)
        promised, held = math.prod(shape) * max(1, dtype.itemsize), entry.file_size - file.tell()
    if promised != held and not dtype.hasobject:  # `read_array` reports arrays of objects
        raise ValueError(f"its header declares {promised:,} bytes, but {held:,} follow it")
    return Header(shape, dtype)


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array; errors as in `read_header`, and those of zipfile, zlib and numpy if it is damaged."""
    read_header(archive, name)
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays of a file, all if no names are given; errors as in `open_npz` and `read_array`."""
    with open_npz(path) as archive:
        found = [name.removesuffix(".npy") for name in archive.namelist()]
        return {name: read_array(archive, name) for name in names or found}
