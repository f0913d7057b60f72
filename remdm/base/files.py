"""Files that are whole or absent."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LARGEST_JSON = 4 * 2**20  # bytes; checksums of 40,000 files


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


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is a device, a pipe or a folder, larger, or not UTF-8.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"is larger than {most:,} bytes")
    return content.decode()


def check_regular(path: Path) -> None:
    """Refuse what could give bytes for ever, or none: a device, a pipe or a folder.

    Raises:
        OSError: the file is missing.
        ValueError: it is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is no regular file")


def read_json(path: Path) -> Any:
    """The content of a small JSON file, which may come from anywhere.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is no regular file, too large, not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_text(path, LARGEST_JSON))
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def is_utf8(text: str) -> bool:
    """Whether text, such as a path, is no more than Unicode; names of files may have other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_disk(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk: only then does it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# What a disk, and not the program, is to blame for.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
DISK_ERRORS |= {errno.ENAMETOOLONG}


def disk_problem(error: OSError) -> str | None:
    """One line on an error that the disk is to blame for; None for any other."""
    return f"{error.filename or 'disk'}: {error.strerror}" if error.errno in DISK_ERRORS else None
