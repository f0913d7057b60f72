"""How a process ends where its work fails. It lives here because every room may import `config`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from remdm.config.base import UserError
from remdm.config.files import disk_problem

logger = logging.getLogger("remdm")


@contextmanager
def reported(job: str) -> Iterator[None]:
    """End the process where the block fails, after saying why in the log.

    What the user can put right is one line and exit status 2; all else is a traceback and exit status 1.
    """
    try:
        yield
    except UserError as error:
        logger.error("error: %s", error)
        sys.exit(2)
    except Exception as error:
        if isinstance(error, OSError) and (problem := disk_problem(error)):
            logger.error("error: %s", problem)
            sys.exit(2)
        logger.exception("%s failed", job)
        sys.exit(1)
