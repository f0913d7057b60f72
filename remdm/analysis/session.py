"""A process that draws one figure or table as a Snakemake job."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remdm.base.errors import reported
from remdm.base.files import write_json

logger = logging.getLogger("remdm")


@contextmanager
def drawing(snakemake: Any) -> Iterator[None]:
    """Leave the record of what is drawn beside it; of a failure, the reason in the job's log."""
    for handler in (logging.StreamHandler(sys.stderr), logging.FileHandler(snakemake.log[0], mode="w")):
        logger.addHandler(handler)
    with reported("drawing"):
        yield
    digest = snakemake.params.digest
    record = {"digest": digest, "origin": json.loads(snakemake.config["origins"][digest])}
    write_json(Path(snakemake.output.run), record)
