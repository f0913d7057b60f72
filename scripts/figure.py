"""Rule `figure`: `draw_<figure>` of the module that is called like it."""

import importlib
from pathlib import Path

from remdm.analysis.session import drawing

with drawing(snakemake):
    name = snakemake.wildcards.figure
    draw = getattr(importlib.import_module(f"remdm.analysis.{name}"), f"draw_{name}")
    draw(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
