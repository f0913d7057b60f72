"""Rule `sweep`."""

from remdm.config.sweep import SweepConfig
from remdm.stages.session import run_script
from remdm.stages.sweep import run_sweep

run_script(snakemake, "sweep", SweepConfig, run_sweep)
