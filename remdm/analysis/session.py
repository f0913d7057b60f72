"""A process that draws one figure or table as a Snakemake job."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remdm.config.base import UserError
from remdm.config.files import disk_problem, whole_file

logger = logging.getLogger("remdm")


@contextmanager
def drawing(snakemake: Any) -> Iterator[None]:
    """Leave the record of what is drawn beside it; of a failure, the reason in the job's log.

    What the user can put right is one line and exit status 2; all else is a traceback and exit status 1.
    """
    for handler in (logging.StreamHandler(sys.stderr), logging.FileHandler(snakemake.log[0], mode="w")):
        logger.addHandler(handler)
    try:
        yield
    except UserError as error:
        logger.error("error: %s", error)
        sys.exit(2)
    except Exception as error:
        if isinstance(error, OSError) and (problem := disk_problem(error)):
            logger.error("error: %s", problem)
            sys.exit(2)
        logger.exception("failed")
        sys.exit(1)
    digest = snakemake.params.digest
    record = {"digest": digest, "origin": json.loads(snakemake.config["origins"][digest])}
    with whole_file(Path(snakemake.output.run)) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")
