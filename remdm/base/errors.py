"""Errors, their messages, and the exit status of a process."""

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
    """Text as one line of limited length that is safe for a terminal: control codes are escaped."""
    shown = "".join(x if x.isprintable() else ascii(x)[1:-1] for x in text[:LONGEST])
    return shown + ("..." if len(text) > LONGEST else "")


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 300, 300, 300


def shown(value: Any) -> str:
    """A value as text of limited length, for a message."""
    return _SHORT.repr(value)


class UserError(Exception):
    """An error that the user can fix; the message is one line and the exit status is 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # parts of it may come from a file


class Interrupted(Exception):
    """The run stopped early and has saved its state; `status` is the exit status."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class ConfigError(UserError):
    """An invalid configuration; the message names the key, its value, its origin and the remedy."""


def near(name: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` with the known names that are similar to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def problem_of(error: Exception) -> str | None:
    """One line on an error that the user can fix; None for any other error."""
    if isinstance(error, UserError):
        return str(error)
    return disk_problem(error) if isinstance(error, OSError) else None


@contextmanager
def reported(job: str) -> Iterator[None]:
    """End the process if the block fails, after logging the reason.

    An error that the user can fix is one line and exit status 2; an interrupted training has its own exit
    status; any other error is a traceback and exit status 1.
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
