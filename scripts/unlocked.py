"""Rule `unlocked`."""

from pathlib import Path

from remdm.analysis.achievements import draw_unlocked
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_unlocked(list(snakemake.input), Path(snakemake.output.png))
