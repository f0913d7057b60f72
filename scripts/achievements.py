"""Rule `achievements`."""

from pathlib import Path

from remdm.analysis.achievements import publish_achievements
from remdm.analysis.session import drawing

with drawing(snakemake):
    publish_achievements(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
