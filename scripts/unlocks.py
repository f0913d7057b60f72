"""Rule `unlocks`."""

from pathlib import Path

from remdm.analysis.film import film_title, read_film
from remdm.analysis.session import drawing
from remdm.analysis.unlocks import draw_unlocks

with drawing(snakemake):
    paths = [path for path in map(Path, snakemake.input) if path.name == "film.npz"]
    films = {path.parents[1].name: read_film(path) for path in paths}
    output = Path(snakemake.output.picture)
    draw_unlocks(films, output, film_title(output.parent))
