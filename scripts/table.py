"""Rule `table`."""

from pathlib import Path

from remdm.analysis.session import drawing
from remdm.analysis.tables import make_table

with drawing(snakemake):
    make_table(snakemake.wildcards.table, list(snakemake.input), Path(snakemake.output.csv).with_suffix(""))
