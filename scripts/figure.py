"""The rules that draw: figures, tables and pages."""

from remdm.analysis.session import run_script

run_script(snakemake)
