"""Which process holds a folder, by the text in its lock."""

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
        """Whether it is or was a process of this host."""
        return self.host == socket.gethostname()

    @property
    def has_ended(self) -> bool:
        """Whether it was one of this host and has ended; of other hosts' nothing is known."""
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
    """Who wrote itself into a lock; None of a text that no lock has."""
    found = re.fullmatch(r"process (\d+) on (.*)\n", text)
    return Holder(int(found[1]), found[2]) if found else None


def holder_of(folder: Path) -> Holder | None:
    """Who holds a folder, or was killed while it did; None where it is free. Takes no lock itself."""
    try:
        return holder_in((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
