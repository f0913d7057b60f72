"""Rule `ppo`."""

from remdm.config.ppo import PPOConfig
from remdm.stages.ppo import run_ppo
from remdm.stages.session import run_script

run_script(snakemake, "ppo", PPOConfig, run_ppo)
