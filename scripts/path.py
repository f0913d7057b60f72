"""Rule `path`."""

from pathlib import Path

from remdm.analysis.film import film_title, read_film
from remdm.analysis.path import draw_path
from remdm.analysis.session import drawing

with drawing(snakemake):
    film = next(path for path in map(Path, snakemake.input) if path.name == "film.npz")
    draw_path(read_film(film), Path(snakemake.output.picture), film_title(film.parent))
