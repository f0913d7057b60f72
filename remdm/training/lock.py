"""Exclusive lock on a folder or a file, released when the process exits."""

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from remdm.base.errors import UserError
from remdm.base.holder import LOCK, holder_in

# Errors of `flock` on file systems without it: some mounts of Lustre, some network file systems.
NO_FLOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder; the system releases the lock when the process ends, however it ends.

    Without `flock`, the existence of the lock's file is the lock. The file of a killed process of this host
    is removed by the next process; that of a process of another host must be removed by hand.

    Raises:
        UserError: another process holds it; the message names that process.
        OSError: the folder or its lock cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, folder / LOCK):
        yield


def locked_file(path: Path) -> AbstractContextManager[None]:
    """Lock a file to be written, in an existing folder; errors as of `locked`."""
    return _locked(path, path.with_name(f".{path.name}.lock"))


@contextmanager
def _locked(held: Path, path: Path) -> Iterator[None]:
    """Lock `held` by the lock file `path`."""
    with _flocked(held, path) if _has_flock(path.parent) else _created(held, path) as file:
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield
        finally:
            if _is_at(file, path):  # the lock may be another process's by now
                path.unlink()


def _has_flock(folder: Path) -> bool:
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            if error.errno in NO_FLOCK:
                return False
            raise
    return True


def _flocked(held: Path, path: Path) -> TextIO:
    while True:
        # No link is followed: the file that it leads to would be truncated.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise UserError(f"{held}: in use by {holder}") from None
        # The one before may have removed the file between opening and locking it.
        if _is_at(file, path):
            return file
        file.close()


def _created(held: Path, path: Path) -> TextIO:
    while True:
        with suppress(FileExistsError):
            return path.open("x+")
        with suppress(FileNotFoundError):  # the one before may end at any moment
            holder = path.read_text(encoding="utf-8")
            process = holder_in(holder)
            if process is None or not process.has_ended:
                raise UserError(
                    f"{held}: in use by {holder.strip() or 'another process'}; if that has ended, "
                    f"delete {path}"
                )
            aside = path.with_name(f"{path.name}.{os.getpid()}")
            path.rename(aside)  # of several processes, one succeeds
            if aside.read_text(encoding="utf-8") != holder:  # that one's own lock
                os.link(aside, path)
            aside.unlink()


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
