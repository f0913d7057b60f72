"""Rule `denoising`."""

from pathlib import Path

from remdm.analysis.denoising import draw_denoising
from remdm.analysis.film import film_title, read_film
from remdm.analysis.session import drawing

with drawing(snakemake):
    film = next(path for path in map(Path, snakemake.input) if path.name == "film.npz")
    draw_denoising(read_film(film), Path(snakemake.output.picture), film_title(film.parent))
