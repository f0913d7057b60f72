"""Rule `online`."""

from remdm.config.online import OnlineConfig
from remdm.stages.online import run_online
from remdm.stages.session import run_script

run_script(snakemake, "online", OnlineConfig, run_online)
