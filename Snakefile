"""The pipeline: PPO expert -> rollouts, offline BC and DAgger -> evaluation -> figures -> report."""

import sys
from pathlib import Path

from remdm.base.errors import UserError
from remdm.base.machine import (
    check_interpreter,
    import_nothing_from_the_working_folder,
    shared_resources,
    stage_threads,
)
from remdm.config.stages import STAGES
from remdm.workflow.cluster import foreign_profile, remedies
from remdm.workflow.plan import Plan
from remdm.workflow.status import Status

import_nothing_from_the_working_folder()

try:
    check_interpreter()
    plan = Plan.load(Path(workflow.basedir) / "workflow_config.yaml", config)
    # On one machine a stage has a GPU to itself, if there are any. A cluster counts itself.
    is_local = workflow.is_main_process and workflow.nodes is None
    shared = shared_resources() if is_local else {}
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

if workflow.is_main_process:
    foreign = None if is_local else foreign_profile(workflow.resource_settings.overwrite_resources)
    for note in [*plan.notes, *([foreign] if foreign else [])]:
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


CORES = workflow.cores or 1

status = None
if is_local:
    from snakemake.logging import logger
    from snakemake.settings.enums import Quietness

    # With `--quiet progress`, Snakemake does not log which jobs have finished.
    if Quietness.PROGRESS not in (workflow.output_settings.quiet or ()):
        status = Status(plan.scale.expected_seconds, CORES)
        logger.addHandler(status)
    for name, amount in shared.items():
        if name not in workflow.global_resources:
            workflow.register_resource(name, amount)


GPUS = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else 0
THREADS = stage_threads(CORES, GPUS)


wildcard_constraints:
    **plan.wildcards,


# Used with `--software-deployment-method apptainer` alone; remdm.def says how it is built.
container: "remdm.sif"


onstart:
    if workflow.is_main_process:
        plan.keep_finished()
    if status is not None:
        status.begin()


onerror:
    for file in log:
        for line in remedies(Path(file).read_text(encoding="utf-8")):
            print(line, file=sys.stderr)


rule all:
    default_target: True
    input:
        plan.targets,


include: "rules/common.smk"
include: "rules/stages.smk"
include: "rules/figures.smk"


# Only where there is something to fetch: Snakemake removes what a rule makes before it runs.
if plan.fetched:

    include: "rules/expert.smk"
