"""Arrays of an `.npz` file that may come from anywhere: reading takes no more memory than its size allows."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remdm.base.files import check_regular

# What the arrays of a file may unpack to: bytes, or a multiple of the file. `collect` packs zeros 230 times,
# films stay below the former; deflate reaches 1,032 times, and the other methods of zip far more.
UNPACKED_BYTES = 2**26
UNPACKED_RATIO = 250
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Header(NamedTuple):
    """What an array says of itself before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


def open_npz(path: Path) -> zipfile.ZipFile:
    """An `.npz` file, to be closed, whose arrays unpack to no more than a file of its size may hold.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is no regular file, or claims more; `zipfile.BadZipFile` and others: it is damaged.
    """
    check_regular(path)
    archive = zipfile.ZipFile(path)
    size, entries = path.stat().st_size, archive.infolist()
    unpacked, most = sum(entry.file_size for entry in entries), max(UNPACKED_BYTES, UNPACKED_RATIO * size)
    foreign = next((entry.filename for entry in entries if entry.compress_type not in METHODS), None)
    if foreign is not None or unpacked > most:
        archive.close()
    if foreign is not None:
        raise ValueError(f"{foreign} is packed by another method than deflate")
    if unpacked > most:
        raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}, but at most {most:,} are read")
    return archive


def read_header(archive: zipfile.ZipFile, name: str) -> Header:
    """The shape and type of an array.

    Raises:
        KeyError: there is no such array.
        ValueError: the header is none, or promises another number of bytes than the file holds.
    """
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"its format is {version}")
        shape, _, dtype = HEADERS[version](file)
        promised, held = math.prod(shape) * max(1, dtype.itemsize), entry.file_size - file.tell()
    if promised != held and not dtype.hasobject:  # reading says what is wrong with objects
        raise ValueError(f"its header promises {promised:,} bytes, but {held:,} follow it")
    return Header(shape, dtype)


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array; errors as of `read_header`, and others of zipfile, zlib and numpy if it is damaged."""
    read_header(archive, name)
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file, all if no names are given; errors as of `open_npz` and `read_array`."""
    with open_npz(path) as archive:
        found = [name.removesuffix(".npy") for name in archive.namelist()]
        return {name: read_array(archive, name) for name in names or found}
