"""Rule `report`."""

from pathlib import Path

from remdm.analysis.report import write_report
from remdm.analysis.session import drawing

with drawing(snakemake):
    write_report(
        list(snakemake.input.records),
        [Path(caption).with_suffix(".png") for caption in snakemake.input.captions],
        Path(snakemake.output.html),
    )
