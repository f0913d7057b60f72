"""Rule `report`."""

from pathlib import Path

from remdm.analysis.report import write_report
from remdm.analysis.session import drawing

with drawing(snakemake):
    write_report(
        list(snakemake.input.records),
        [Path(figure) for figure in snakemake.input.figures],
        Path(snakemake.output.html),
    )
