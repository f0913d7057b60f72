"""Files that are whole or absent."""

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
    """A place to write a file, which is renamed to `path` once the block has succeeded, or else removed.

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


def replace(path: Path, new: Path) -> None:
    """Rename a whole file or folder to `path`, and force the name to the disk.

    What it replaces is gone only after that, at once where the file system replaces files.

    Raises:
        OSError: it cannot be renamed; then what was there before is there.
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
    """Rename a folder, or copy it whole where `path` is on another file system.

    Raises:
        OSError: something is there already, or the disk does not take it.
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
    """Remove a file or folder as far as possible, if it is there."""
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Force a file to the disk: only then does it survive a power cut. Some file systems cannot.

    Raises:
        OSError: it has not reached the disk.
    """
    try:
        _fsync(path)
    except OSError as error:
        if error.errno not in NO_FSYNC:
            raise
        _warn_once(path.parent, error)


def folder_to_disk(folder: Path) -> None:
    """Force the names in a folder to the disk; where that fails, a warning: what they name is there."""
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
    """Say once for each file system what a power cut may do."""
    if (device := folder.stat().st_dev) not in _WARNED:
        _WARNED.add(device)
        reason = error.strerror
        logger.warning(
            "%s: cannot be forced to the disk (%s): a power cut may lose what is new", folder, reason
        )


def missing_feature(folder: Path) -> str | None:
    """What a folder's file system cannot do although most can, and other libraries rely on it.

    Raises:
        OSError: no file can be made there.
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


# What `fsync` says where a file system has none.
NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
# What a disk, and not the program, is to blame for; the last row is said by file systems of networks.
DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV, errno.EMLINK, errno.EMFILE, errno.ENFILE, errno.EBUSY),
    *(errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODEV, errno.ENXIO, errno.ENOLCK),
    *(errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
}


def disk_problem(error: OSError) -> str | None:
    """One line on an error that the disk is to blame for; None for any other."""
    return f"{error.filename or 'disk'}: {error.strerror}" if error.errno in DISK_ERRORS else None
