"""Rule `curves`."""

from pathlib import Path

from remdm.analysis.curves import draw_curves
from remdm.analysis.session import logged

with logged(snakemake.log[0]):
    draw_curves(Path(snakemake.input.metrics).parent, Path(snakemake.output[0]))
