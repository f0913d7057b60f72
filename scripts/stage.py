"""The rules that run a stage, each called like it."""

from remdm.stages.session import run_script

run_script(snakemake)
