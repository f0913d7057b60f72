"""Let results of older code count as current."""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from remdm.base.errors import UserError
from remdm.commands.configuration import plan_of
from remdm.workflow.acceptance import Verdict, accept, acceptable, examine, lines_of
from remdm.workflow.plan import Plan


def run_accept(arguments: argparse.Namespace) -> None:
    """Print what has changed since results were made; with --yes, record that they count as current.

    Raises:
        UserError: there is no such result, more than code makes a named one stale, or Snakemake fails.
    """
    plan = plan_of(arguments.scale)
    verdicts = examine(plan, arguments.targets)
    for line in lines_of(verdicts):
        print(line)
    chosen = acceptable(verdicts)
    refused = [verdict for verdict in verdicts if verdict.refusals]
    if refused and not chosen:
        raise UserError(f"{refused[0].product}: more than its code has changed; `snakemake` makes it again")
    if not arguments.yes:
        print(f"{len(chosen)} results would count as current; --yes records it")
        return
    _touch(plan, chosen)
    accept(chosen)
    print(f"{len(chosen)} results count as current")


def _touch(plan: Plan, verdicts: Sequence[Verdict]) -> None:
    """Have Snakemake store the current parameters of results, which its next call compares.

    The records must still be old: Snakemake would skip results that are made from settled ones.

    Raises:
        UserError: Snakemake fails, for example because another one is running.
    """
    if not verdicts:
        return
    records = [verdict.product.record for verdict in verdicts]
    command = [sys.executable, "-P", "-m", "snakemake", *records, "--touch", "--cores", "1"]
    command += ["--quiet", "all", "--config", f"scale={plan.config.scale}"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"snakemake --touch: {reason}; nothing was recorded")
