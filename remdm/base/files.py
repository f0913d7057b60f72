"""Files that are whole or absent."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file, which is renamed to `path` once the block has succeeded, or else removed.

    Raises:
        OSError: from the block or the renaming; it names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        to_disk(partial)
        partial.replace(path)
        to_disk(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()  # on a full disk above all
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write JSON, all of it or nothing."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(data, indent=2) + "\n")


def to_disk(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk: only then does it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# What a disk, and not the program, is to blame for.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def disk_problem(error: OSError) -> str | None:
    """One line on an error that the disk is to blame for; None for any other."""
    return f"{error.filename or 'disk'}: {error.strerror}" if error.errno in DISK_ERRORS else None
