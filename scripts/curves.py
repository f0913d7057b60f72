"""Rule `curves`."""

from pathlib import Path

from remdm.analysis.curves import draw_curves
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_curves(Path(snakemake.input[0]).parent, Path(snakemake.output.png))
