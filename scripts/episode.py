"""Rule `episode`."""

from pathlib import Path

from remdm.analysis.episode import draw_episode
from remdm.analysis.film import film_title, read_film
from remdm.analysis.session import drawing

with drawing(snakemake):
    film = next(path for path in map(Path, snakemake.input) if path.name == "film.npz")
    draw_episode(read_film(film), Path(snakemake.output.picture), film_title(film.parent))
