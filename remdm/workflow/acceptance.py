"""Results of older code that a user accepts as current, because the change of code did not affect them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remdm.base.clone import git_commit
from remdm.base.errors import UserError
from remdm.base.files import read_json, write_json
from remdm.workflow.catalogue import Figure
from remdm.workflow.digest import Origin
from remdm.workflow.job import Job
from remdm.workflow.plan import Plan
from remdm.workflow.record import Record, read_record
from remdm.workflow.why import NOTHING, changes, code_change, find_product


@dataclass(frozen=True)
class Verdict:
    """Whether a result on disk may count as current.

    Attributes:
        code: changed modules, and keys that the code has gained or lost, as lines.
        refusals: why it must be made again, as lines; empty if it may count.
    """

    product: Job | Figure
    record: Record
    now: Origin
    code: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to accept."""
        return self.record.origin.digest == self.now.digest


def examine(plan: Plan, targets: Sequence[str]) -> list[Verdict]:
    """Verdicts on those of some results and of all their inputs that exist, inputs first.

    A result may count as current if only code has changed since it was made, and its inputs still exist and
    may count too.

    Args:
        targets: files or folders of the results; empty for all of the scale.

    Raises:
        UserError: no job makes a target, it does not exist yet, or a record is damaged.
    """
    asked = [find_product(plan, target) for target in targets]
    for target, product in zip(targets, asked, strict=True):
        if not Path(product.record).exists():
            raise UserError(f"{target}: is not made yet; `snakemake {product}` makes it")
    wanted: set[Any] = set(asked or plan.products)
    for product in reversed(plan.products):  # each before its inputs
        if product in wanted:
            wanted.update(plan.inputs_of(product).values())
    found: dict[Job | Figure, Verdict] = {}
    for product in plan.products:
        if product in wanted and (record := read_record(Path(product.record))) is not None:
            found[product] = _verdict(plan, product, record, found)
    return list(found.values())


def _verdict(
    plan: Plan, product: Job | Figure, record: Record, found: dict[Job | Figure, Verdict]
) -> Verdict:
    before, now = record.origin, plan.origin_of(product)
    keys = changes(before.config, now.config)
    # A key that code has gained or lost is not a different choice of the user.
    code = [f"{key}: {old} -> {new}" for key, (old, new) in keys.items() if NOTHING in (old, new)]
    refusals = [f"{key}: {old} -> {new}" for key, (old, new) in keys.items() if NOTHING not in (old, new)]
    made_from = plan.inputs_of(product)
    for key, (old, new) in changes(before.inputs, now.inputs).items():
        upstream = found.get(made_from.get(key))  # type: ignore[arg-type]
        if upstream is None or upstream.refusals or old not in upstream.record.digests:
            refusals.append(f"{key}: {old} -> {new}, which is not only a change of code")
    changed = changes(before.sources, now.sources)
    code += [f"{path}: {code_change(old, new)}" for path, (old, new) in changed.items()]
    if before.stage != now.stage:
        code.append(f"remdm/analysis/{now.stage}.py draws it, no longer {before.stage}.py")
    return Verdict(product, record, now, tuple(code), tuple(refusals))


def accept(verdicts: Sequence[Verdict]) -> None:
    """Record in the acceptable results that they count as current, and what had changed."""
    at, commit = datetime.now(UTC).isoformat(timespec="seconds"), git_commit()
    for verdict in acceptable(verdicts):
        path, before = Path(verdict.product.record), verdict.record.origin.digest
        trace = {"digest": before, "git_commit": commit, "at": at, "code": list(verdict.code)}
        record = read_json(path)
        record |= {"digest": verdict.now.digest, "origin": asdict(verdict.now)}
        record["accepted"] = [*record.get("accepted", []), trace]
        write_json(path, record)


def acceptable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The results that are stale only by their code."""
    return [verdict for verdict in verdicts if not verdict.is_current and not verdict.refusals]


def lines_of(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Lines: results that may count as current, the code that has changed, and results that may not."""
    chosen = acceptable(verdicts)
    for verdict in chosen:
        yield f"{verdict.product}{verdict.record.made_at}"
    if chosen:
        yield "Code that has changed since:"
        changed = dict.fromkeys(line for verdict in chosen for line in verdict.code)
        yield from (f"  {line}" for line in sorted(changed))
    for verdict in verdicts:
        if verdict.refusals and not verdict.is_current:
            yield f"{verdict.product}: must be made again, because more than its code has changed"
            yield from (f"  {line}" for line in verdict.refusals)
