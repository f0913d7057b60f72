"""Files that are written completely or not at all, and errors of the disk."""

import errno
import fcntl
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger("remdm")

_WARNED: set[int] = set()  # devices

LARGEST_JSON = 4 * 2**20  # bytes; checksums of 40,000 files


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path, which is renamed to `path` if the block succeeds, and removed otherwise.

    Raises:
        OSError: from the block or the renaming; it names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        to_disk(partial)
        replace(path, partial)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()  # most important on a full disk
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write JSON, completely or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(data, indent=2) + "\n")


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is a device, a pipe or a folder, too large, or not UTF-8.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"is larger than {most:,} bytes")
    return content.decode()


def check_regular(path: Path) -> None:
    """Refuse a device, a pipe or a folder, which could be endless or block.

    Raises:
        OSError: the file is missing.
        ValueError: it is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is no regular file")


def read_json(path: Path) -> Any:
    """The content of a small JSON file, which need not be trusted.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is no regular file, too large, not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_text(path, LARGEST_JSON))
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def is_utf8(text: str) -> bool:
    """Whether text, such as a path, can be encoded as UTF-8; names of files may have other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def replace(path: Path, new: Path) -> None:
    """Rename a complete file or folder to `path`, and force the name to the disk.

    What it replaces is removed last; where the file system replaces files, in one step.

    Raises:
        OSError: it cannot be renamed; the previous content is kept.
    """
    try:
        new.replace(path)
    except OSError:
        if not path.exists() or path.is_dir() != new.is_dir():
            raise
        old = path.with_name(f".{path.name}.replaced")
        remove(old)
        try:
            path.rename(old)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copytree(path, old)  # overlays rename no folder of their lower layer
            remove(path)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
        remove(old)
    folder_to_disk(path.parent)


def move(folder: Path, path: Path) -> None:
    """Rename a folder, or copy it if `path` is on another file system.

    Raises:
        OSError: `path` exists, or the folder cannot be written there.
    """
    try:
        folder.rename(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = path.with_name(f".{path.name}.partial")
        remove(partial)
        shutil.copytree(folder, partial)
        partial.rename(path)
        remove(folder)


def remove(path: Path) -> None:
    """Remove a file or folder as far as possible, if it exists."""
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Force a file to the disk, so that it survives a power cut; a warning where the file system cannot.

    Raises:
        OSError: writing failed.
    """
    try:
        _fsync(path)
    except OSError as error:
        if error.errno not in NO_FSYNC:
            raise
        _warn_once(path.parent, error)


def folder_to_disk(folder: Path) -> None:
    """Force the names in a folder to the disk; failure is only a warning, because the files exist."""
    try:
        _fsync(folder)
    except OSError as error:
        _warn_once(folder, error)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _warn_once(folder: Path, error: OSError) -> None:
    """Warn once for each file system that a power cut may lose data."""
    if (device := folder.stat().st_dev) not in _WARNED:
        _WARNED.add(device)
        reason = error.strerror
        logger.warning(
            "%s: cannot be forced to the disk (%s): a power cut may lose what is new", folder, reason
        )


def missing_feature(folder: Path) -> str | None:
    """The first common feature that a folder's file system lacks and other libraries need; None if none.

    Raises:
        OSError: no file can be created there.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as probe:
        one, other = Path(probe, "one"), Path(probe, "other")
        one.touch()
        other.touch()
        with one.open("r+") as file:
            tries = {
                "lock files": lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
                "force files to the disk": lambda: os.fsync(file.fileno()),
                "force folders to the disk": lambda: _fsync(Path(probe)),
                "replace a file by renaming": lambda: one.replace(other),
            }
            for what, attempt in tries.items():
                try:
                    attempt()
                except OSError as error:
                    return f"{what} ({error.strerror})"
    return None


# Errors of `fsync` on file systems that do not support it.
NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
# Errors caused by the disk, not by the program; the last row is those of network file systems.
DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.EMLINK, errno.EMFILE, errno.ENFILE, errno.EBUSY),
    *(errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODEV, errno.ENXIO, errno.ENOLCK),
    *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
}


def disk_problem(error: OSError) -> str | None:
    """One line on an error caused by the disk; None for any other error."""
    return f"{error.filename or 'disk'}: {error.strerror}" if error.errno in DISK_ERRORS else None
