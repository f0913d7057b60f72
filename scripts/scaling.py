"""Rule `scaling`."""

from pathlib import Path

from remdm.analysis.scaling import draw_scaling
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_scaling(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
