"""Rule `ablation_report`."""

from pathlib import Path

from remdm.analysis.ablations.report import write_ablations
from remdm.analysis.session import logged

with logged(snakemake.log[0]):
    write_ablations(list(snakemake.params.folders), Path(snakemake.output.report).parent)
