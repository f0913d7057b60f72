"""What can go wrong, and how a process then ends."""

import difflib
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from reprlib import Repr
from typing import Any

from remdm.base.files import disk_problem

logger = logging.getLogger("remdm")

LONGEST = 4000  # characters of a message


def printable(text: str) -> str:
    """Text as one line of bounded length that may be sent to a terminal, its control codes escaped."""
    shown = "".join(x if x.isprintable() else ascii(x)[1:-1] for x in text[:LONGEST])
    return shown + ("..." if len(text) > LONGEST else "")


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 300, 300, 300


def shown(value: Any) -> str:
    """A value in a message; a few bytes of YAML can stand for gigabytes."""
    return _SHORT.repr(value)


class UserError(Exception):
    """Something the user can put right; the message is one line and the exit status is 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # parts of it may come from a file


class Interrupted(Exception):
    """The run stopped early and has saved its state; `status` is the exit status."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class ConfigError(UserError):
    """A configuration that cannot be run: names the key, its value, its origin and what is right."""


def near(name: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` with the known names close to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def problem_of(error: Exception) -> str | None:
    """One line on an error that the user can put right; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    return disk_problem(error) if isinstance(error, OSError) else None


@contextmanager
def reported(job: str) -> Iterator[None]:
    """End the process where the block fails, after saying why in the log.

    What the user can put right is one line and exit status 2; an interrupted training has an exit status of
    its own; all else is a traceback and exit status 1.
    """
    try:
        yield
    except Interrupted as interrupted:
        sys.exit(interrupted.status)
    except Exception as error:
        if problem := problem_of(error):
            logger.error("error: %s", problem)
            sys.exit(2)
        logger.exception("%s failed", job)
        sys.exit(1)
