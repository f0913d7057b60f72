"""The process that has locked a folder, from the text in the lock."""

import os
import re
import socket
from pathlib import Path
from typing import NamedTuple

LOCK = ".lock"


class Holder(NamedTuple):
    """A process and its host."""

    process: int
    host: str

    @property
    def is_here(self) -> bool:
        """Whether it is or was a process on this host."""
        return self.host == socket.gethostname()

    @property
    def has_ended(self) -> bool:
        """Whether it was a process on this host and has ended; False if it is on another host."""
        if not self.is_here:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def holder_in(text: str) -> Holder | None:
    """The process named in the text of a lock; None for any other text."""
    found = re.fullmatch(r"process (\d+) on (.*)\n", text)
    return Holder(int(found[1]), found[2]) if found else None


def holder_of(folder: Path) -> Holder | None:
    """The process that has locked a folder, or was killed with the lock; None if it is free."""
    try:
        return holder_in((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
