"""Rule `profiles`."""

from pathlib import Path

from remdm.analysis.profiles import draw_profiles
from remdm.analysis.session import drawing

with drawing(snakemake):
    draw_profiles(list(snakemake.input), Path(snakemake.output.png).with_suffix(""))
