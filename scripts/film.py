"""Rule `film`."""

from remdm.config.film import FilmConfig
from remdm.stages.film import run_film
from remdm.stages.session import run_script

run_script(snakemake, "film", FilmConfig, run_film)
