"""Print the results of scales."""

import argparse
import textwrap

from remdm.commands.configuration import plan_of
from remdm.workflow.acceptance import examine
from remdm.workflow.job import Job

SHOWN = ("inference", "imitation")


def run_results(arguments: argparse.Namespace) -> None:
    """Print a page of Markdown, a section for each scale.

    Results of other settings than the current ones are left out, like unfinished ones; results of older code
    are included, and the page names their commit.
    """
    from remdm.analysis.summary import summary

    asked = " ".join(["uv run remdm results", *arguments.scales])
    parts = [f"# Results\n\nMade by `{asked}`. docs/method.md says what limits them, and what was tried."]
    for scale in arguments.scales or [None]:
        plan = plan_of(scale)
        made = [verdict.product for verdict in examine(plan, []) if not verdict.refusals]
        folders = [job.folder for job in made if isinstance(job, Job) and job.stage in SHOWN]
        command = f"uv run snakemake --config scale={plan.config.scale}"
        count = len(plan.catalogue.of(*SHOWN))
        parts.append(
            f"## {plan.config.scale}\n\n`{command}`; {len(folders)} of {count} evaluations are finished."
        )
        if folders:
            parts.append(summary(folders))
    print("\n\n".join(map(_wrapped, "\n\n".join(parts).split("\n\n"))))


def _wrapped(paragraph: str) -> str:
    """A paragraph in lines of 120 characters; a table is returned unchanged."""
    if paragraph.startswith("|"):
        return paragraph
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)
