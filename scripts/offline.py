"""Rule `offline`."""

from remdm.config.offline import OfflineConfig
from remdm.stages.offline import run_offline
from remdm.stages.session import run_script

run_script(snakemake, "offline", OfflineConfig, run_offline)
