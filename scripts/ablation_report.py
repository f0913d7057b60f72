"""Rule `ablation_report`."""

from pathlib import Path

from remdm.analysis.ablations.report import write_ablations
from remdm.analysis.session import drawing

with drawing(snakemake):
    folders = list(dict.fromkeys(str(Path(file).parent) for file in snakemake.input))
    write_ablations(folders, Path(snakemake.output.report).parent)
