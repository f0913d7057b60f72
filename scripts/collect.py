"""Rule `collect`."""

from remdm.config.collect import CollectConfig
from remdm.stages.collect import run_collect
from remdm.stages.session import run_script

run_script(snakemake, "collect", CollectConfig, run_collect)
