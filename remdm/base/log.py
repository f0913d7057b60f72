"""The destinations of log messages."""

import logging
import sys
from pathlib import Path

logger = logging.getLogger("remdm")


def configure_logging(log_file: Path | None = None) -> None:
    """Send messages to the terminal and, if one is named, to a log file."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger.handlers[:] = handlers
    # If Orbax cannot write, these repeat the error for every array; our own error reports it once.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
