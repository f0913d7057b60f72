"""Why a result is stale: the differences between its recorded origin and its current one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from remdm.base.errors import UserError, near
from remdm.base.state import STATE
from remdm.workflow.digest import Origin
from remdm.workflow.plan import PLAYABLE, Figure, Job, Plan
from remdm.workflow.record import read_record

INDENT = "  "
FRESH = ": up to date"
# Where a training uses keys that evaluation has too.
PLAYS_IN = {
    "offline": "validation",
    "online": "validation and the learner's rollouts",
    "ablations": "the arm's rollouts or evaluations",
}


def explain(plan: Plan, target: str) -> list[str]:
    """Lines on a result and its inputs: whether each is stale, and why.

    Args:
        target: a file or folder of the results.

    Raises:
        UserError: no job makes it, or a record is damaged.
    """
    found = find_product(plan, target)
    lines = list(_lines(plan, found))
    if lines[0].endswith(FRESH) and not Path(target).exists():
        return [f"{found}: {Path(target).name} is missing"]
    return lines


def find_product(plan: Plan, target: str) -> Job | Figure:
    """The job or figure that makes a file or folder.

    Raises:
        UserError: there is none; the message names similar targets.
    """
    path = Path(target)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    for figure in plan.figures.values():
        if path in map(Path, figure.outputs):
            return figure
    for job in plan.jobs:
        if path.is_relative_to(job.folder):
            return job
    known = [*plan.targets, *map(str, plan.jobs)]
    raise UserError(f"{target}: is made by no job of scale {plan.config.scale}{near(str(path), known)}")


def _lines(plan: Plan, product: Job | Figure, depth: int = 0) -> Iterator[str]:
    """The verdict on a product and its reasons, then those of the inputs that have changed."""
    here, origin = INDENT * depth, plan.origin_of(product)
    record = read_record(Path(product.record))
    if record is None:
        started = (STATE / origin.digest).exists()
        yield f"{here}{product}: not made yet{'; it was begun, and resumes' if started else ''}"
        return
    before = record.origin
    if before.digest == origin.digest:
        yield f"{here}{product}{FRESH}"
        return
    yield f"{here}{product}: stale{record.made_at}"
    for text in (*_differences(before, origin), *_remedies(plan, before, origin)):
        yield f"{here}{INDENT}{text}"
    made_from = plan.inputs_of(product)
    for key in changes(before.inputs, origin.inputs):
        upstream = made_from.get(key)
        if isinstance(upstream, Job):
            yield from _lines(plan, upstream, depth + 2)


def _differences(before: Origin, now: Origin) -> Iterator[str]:
    for key, (old, new) in changes(before.config, now.config).items():
        yield f"{key}: {old} -> {new}"
    for path, (old, new) in changes(before.sources, now.sources).items():
        yield f"{path}: {code_change(old, new)}"
    for key, (old, new) in changes(before.inputs, now.inputs).items():
        yield f"{key}: {old} -> {new}"


def _remedies(plan: Plan, before: Origin, now: Origin) -> Iterator[str]:
    """How to change keys of playing only in evaluations, if such keys made a training stale."""
    changed = changes(before.config, now.config).items()
    keys = [key for key, values in changed if key in PLAYABLE and NOTHING not in values]
    if keys and now.stage in PLAYS_IN:
        yield (
            f"{', '.join(keys)}: used by {PLAYS_IN[now.stage]} too; {plan.origin}: "
            f"scales.{plan.config.scale}.playing changes evaluation, film and sweep only"
        )


def code_change(old: Any, new: Any) -> str:
    """The change of a module in words, given its old and new digests."""
    if old is NOTHING:
        return "is new among the modules that this reaches"
    return "is no longer reached" if new is NOTHING else f"its code has changed ({old} -> {new})"


class _Nothing:
    def __str__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Old and new values of the keys that differ; `NOTHING` for a missing value."""
    return {
        key: (before.get(key, NOTHING), now.get(key, NOTHING))
        for key in {**before, **now}
        if before.get(key, NOTHING) != now.get(key, NOTHING)
    }
