"""Rule `returns`."""

from pathlib import Path

from remdm.analysis.returns import draw_returns
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_returns(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
