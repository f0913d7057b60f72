"""The progress of a scale: a line for each job, or a report on the finished ones."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from remdm.base.errors import UserError, printable
from remdm.commands.configuration import plan_of
from remdm.workflow.plan import Plan
from remdm.workflow.progress import STATES, Progress, progress_of


def run_status(arguments: argparse.Namespace) -> None:
    """Print a line for each job, those that need attention last, and the counts; write the report if asked.

    Raises:
        UserError: a report is requested before any job is done.
    """
    plan = plan_of(arguments.scale)
    jobs = progress_of(plan)
    for state in STATES:
        for found in jobs:
            if found.state == state:
                print(printable(f"{state:<8} {found.job}  {found.note}".rstrip()))
    counts = Counter(found.state for found in jobs)
    drawn = sum(map(plan.is_settled, plan.figures.values()))
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    print(f"{plan.config.scale}: {len(jobs)} jobs: {summary}; {drawn} of {len(plan.figures)} figures drawn")
    if arguments.report is not None:
        _write_report(plan, jobs, arguments.report)
        print(arguments.report)


def _write_report(plan: Plan, jobs: Sequence[Progress], output: Path) -> None:
    from remdm.analysis.report import write_report
    from remdm.analysis.runs import Unfinished

    done = [found.job.record for found in jobs if found.state == "done"]
    if not done:
        raise UserError(f"--report {output}: no job of {plan.config.scale} is done yet")
    unfinished = [
        Unfinished(job.env, job.stage, job.name, job.seed, job.folder, found.text)
        for found in jobs
        if found.state != "done"
        for job in [found.job]
    ]
    write_report(done, [], output, unfinished)
