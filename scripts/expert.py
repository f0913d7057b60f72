"""Rule `expert`."""

import shutil
from pathlib import Path

from remdm.base.errors import reported
from remdm.base.log import configure_logging
from remdm.training.fetching import fetch

configure_logging(Path(snakemake.log[0]))
with reported("expert"):
    target = Path(snakemake.output.checkpoint)
    fetched = target.with_name("fetched")
    # Copied, because the Hub's client returns a folder of links in its own cache.
    shutil.copytree(fetch(snakemake.params.reference, fetched), target)
    shutil.rmtree(fetched, ignore_errors=True)
