"""Rule `inference`."""

from remdm.config.inference import InferenceConfig
from remdm.stages.inference import run_inference
from remdm.stages.session import run_script

run_script(snakemake, "inference", InferenceConfig, run_inference)
