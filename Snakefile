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
    if unseen := plan.unseen():
        print(
            f"note: {unseen[0]}: made with other settings or code, which Snakemake cannot see, for .snakemake "
            f"was not moved here with the results; --forcerun {' '.join(unseen)} makes them again",
            file=sys.stderr,
        )

# What jobs are told, beside their digest.
config["runtime"] = plan.runtime.model_dump()
config["origins"] = plan.origins


def settled(maker, *paths):
    """Inputs that a job makes, whose times must play no part.

    Of a job that is to be made again they are not ancient: then Snakemake would not tell what follows.
    """
    return [ancient(path) for path in paths] if plan.is_settled(maker) else list(paths)


def checkpoint_of(stage, key):
    """The input function of the checkpoint that a stage reads by a key; of no file if it reads none."""

    def find(wildcards):
        maker = plan.dependencies(plan.find(stage, wildcards)).get(key)
        return [] if maker is None else settled(maker, maker.checkpoint)

    return find


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
if plan.fetched:

    include: "rules/expert.smk"
