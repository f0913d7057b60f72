"""A process that draws one figure or table as a Snakemake job."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def logged(log_file: str) -> Iterator[None]:
    """Leave a failure's traceback in the job's log, and fail."""
    handler = logging.FileHandler(Path(log_file), mode="w")
    logger = logging.getLogger("remdm")
    logger.addHandler(handler)
    try:
        yield
    except Exception:
        logger.exception("failed")
        sys.exit(1)
