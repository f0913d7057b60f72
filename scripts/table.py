"""Rule `table`."""

from pathlib import Path

from remdm.analysis.session import drawing
from remdm.analysis.table import write_table

with drawing(snakemake):
    write_table(list(snakemake.input), Path(snakemake.output[0]))
