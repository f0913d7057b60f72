"""Rule `learning`."""

from pathlib import Path

from remdm.analysis.learning import draw_learning_curves
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_learning_curves(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
