"""Rule `ablations`."""

from remdm.config.ablations import AblationsConfig
from remdm.stages.ablations import run_ablations
from remdm.stages.session import run_script

run_script(snakemake, "ablations", AblationsConfig, run_ablations)
