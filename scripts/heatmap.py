"""Rule `heatmap`."""

from pathlib import Path

from remdm.analysis.session import drawing
from remdm.analysis.sweep import draw_sweep

with drawing(snakemake):
    output = Path(snakemake.output.png)
    draw_sweep(output.parent, output)
