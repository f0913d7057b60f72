"""Rule `table`."""

from pathlib import Path

from remdm.analysis.session import logged
from remdm.analysis.table import write_table

with logged(snakemake.log[0]):
    write_table(list(snakemake.input), Path(snakemake.output[0]))
