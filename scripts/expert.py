"""Rule `expert`."""

import shutil
import sys
from pathlib import Path

from remdm.config.base import UserError
from remdm.stages.session import configure_logging, logger
from remdm.training.tracking import fetch

configure_logging(Path(snakemake.log[0]))
target = Path(snakemake.output.checkpoint)
try:
    fetch(snakemake.params.reference, target.with_name("fetched")).rename(target)
except UserError as error:
    logger.error("error: %s", error)
    sys.exit(2)
shutil.rmtree(target.with_name("fetched"))
