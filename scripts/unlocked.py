"""Rule `unlocked`."""

from pathlib import Path

from remdm.analysis.achievements import draw_achievements
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_achievements(list(snakemake.input), Path(snakemake.output.png))
