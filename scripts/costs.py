"""Rule `costs`."""

from pathlib import Path

from remdm.analysis.costs import draw_costs
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_costs(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
