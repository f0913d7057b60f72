"""Rule `expert`."""

import shutil
from pathlib import Path

from remdm.base.errors import reported
from remdm.base.files import move
from remdm.base.log import configure_logging
from remdm.training.tracking import fetch

configure_logging(Path(snakemake.log[0]))
with reported("expert"):
    target = Path(snakemake.output.checkpoint)
    fetched = target.with_name("fetched")
    move(fetch(snakemake.params.reference, fetched), target)
    shutil.rmtree(fetched)
