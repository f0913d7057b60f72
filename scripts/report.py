"""Rule `report`."""

from pathlib import Path

from remdm.analysis.report import write_report
from remdm.analysis.session import logged

with logged(snakemake.log[0]):
    write_report(
        list(snakemake.input.trainings),
        list(snakemake.input.evaluations),
        {name: str(snakemake.input[name]) for name in ("returns", "achievements", "learning")},
        Path(snakemake.output[0]),
    )
