"""Rule `gallery`."""

from pathlib import Path

from remdm.analysis.gallery import write_gallery
from remdm.analysis.session import drawing

with drawing(snakemake):
    write_gallery([Path(path) for path in snakemake.input.pictures], Path(snakemake.output.html))
