"""Rule `dagger`."""

from pathlib import Path

from remdm.analysis.dagger import draw_dagger
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_dagger(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
