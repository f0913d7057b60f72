"""The pipeline: PPO expert -> rollouts, offline BC and DAgger -> evaluation -> figures -> report."""

import sys
from pathlib import Path

from remdm.config.base import UserError
from remdm.workflow.plan import Plan

try:
    plan = Plan.load(Path(workflow.basedir) / "workflow_config.yaml", config)
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

if workflow.is_main_process:
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)

config["runtime"] = plan.runtime.model_dump()


wildcard_constraints:
    **plan.wildcards,


# Used with `--software-deployment-method apptainer` alone; remdm.def says how it is built.
container: "remdm.sif"


rule all:
    default_target: True
    input:
        plan.targets,


include: "rules/ppo.smk"
include: "rules/collect.smk"
include: "rules/planners.smk"
include: "rules/inference.smk"
include: "rules/figures.smk"


# Only where there is something to fetch: Snakemake removes what a rule makes before it runs.
if plan.fetched is not None:

    include: "rules/expert.smk"
