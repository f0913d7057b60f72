"""Maps errors of sbatch to the profile setting to fix, and detects a profile that is not this project's."""

import re
from collections.abc import Container

from remdm.config.stages import STAGES

REFUSED = re.compile(
    r"Error in rule (\w+):\s+message: SLURM sbatch failed\. The error message was '(.*?)'\.\n", re.DOTALL
)
# The remedy for each error, by words of its message.
REMEDIES = {
    "invalid partition": "slurm_partition must be one of those of `sinfo -o %R`",
    "account": "slurm_account must be one of yours, see `sacctmgr show associations user=$USER`",
    "gres": "gpu must be 0 on a cluster without GPUs",
    "node configuration": "gpu, cpus_per_task and mem_mb must fit a node, see `sinfo -o '%R %G %c %m'`",
    "processors": "cpus_per_task must fit a node, see `sinfo -o '%R %c'`",
    "time limit": "runtime must be at most the partition's, see `sinfo -o '%R %l'`",
}


def remedies(log: str) -> list[str]:
    """A line for every rule whose job Slurm refused, from Snakemake's log."""
    lines = []
    for rule, error in REFUSED.findall(log):
        message = error.splitlines()[0].split("error: ")[-1].removeprefix("Batch job submission failed: ")
        right = [text for words, text in REMEDIES.items() if words in error.lower()]
        advice = f"; in profiles/slurm/config.yaml, {right[0]}" if right else ""
        lines.append(f"error: Slurm refused {rule}: {message}{advice}")
    return list(dict.fromkeys(lines))


def foreign_profile(set_resources: Container[str]) -> str | None:
    """One line if the profile in use sets no resources for a stage, so that it is not this project's.

    Args:
        set_resources: the rules whose resources the profile sets.
    """
    absent = [name for name, stage in STAGES.items() if stage.in_pipeline and name not in set_resources]
    if not absent:
        return None
    return (
        f"the profile in use has no set-resources for {', '.join(absent)}: their time limits are the "
        f"cluster's; `--profile profiles/slurm` is this project's, and another may be in ~/.config/snakemake"
    )
