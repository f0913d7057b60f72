"""Where the time of a case goes: a profile of a few calls, summed up by scopes of the code."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.bench.cases import Case
from benchmarks.bench.catalogue import Request
from benchmarks.bench.program import CONTROL, Program
from remdm.base.errors import UserError

# Scopes that the code marks with `jax.named_scope`; of several around an operation, the innermost counts.
SCOPES = ("env_step", "reset", "expert", "planning", "gathering", "gradient", "optimiser")
OTHER, WAITING = "other operations", "idle"
# What copies between host and device is called in a profile of a GPU.
TRANSFER = re.compile(r"memcpy.*(h2d|d2h|htod|dtoh)|infeed|outfeed", re.I)


class Event(NamedTuple):
    """Something that ran, in nanoseconds."""

    start: float
    end: float
    name: str  # of the instruction


def trace(request: Request, case: Case) -> dict[str, Any]:
    """Profile some calls into the folder `request.trace`.

    Returns:
        Seconds a call by scope, seconds a call in all, calls, and transfers a call between host and device
        while they ran: those of results that a case brings to the host are among them.

    Raises:
        UserError: the profile tells nothing.
    """
    assert case.program is not None
    for _ in range(case.warm_up):
        case.call()
    folder = Path(request.trace or ".")
    with jax.profiler.trace(str(folder)):
        for _ in range(request.repeats):
            case.call()
    profile = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    events, transfers = read(profile)
    if not events:
        raise UserError(f"--trace: {profile} tells of no operation")
    seconds = by_scope(events, Program(case.program.as_text() or ""))
    return {
        "case": request.case,
        "profile": str(profile),
        "calls": request.repeats,
        "seconds": {name: value / request.repeats for name, value in seconds.items()},
        "transfers": {name: count / request.repeats for name, count in transfers.items()},
    }


def read(profile: Path) -> tuple[list[list[Event]], Counter[str]]:
    """The operations of a profile by the line they ran on, and how often what copied to or from the host."""
    lines: dict[bool, list[list[Event]]] = defaultdict(list)
    transfers: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(profile)).planes:
        for line in plane.lines:
            events = []
            for event in line.events:
                if TRANSFER.search(event.name):
                    transfers[event.name] += 1
                operation = next((value for name, value in event.stats if name == "hlo_op"), None)
                if operation is not None:
                    events.append(Event(event.start_ns, event.start_ns + event.duration_ns, str(operation)))
            if events:
                lines["/device:" in plane.name].append(events)
    # A GPU's operations are also on the lines of the host that starts them.
    return lines[True] or lines[False], transfers


def by_scope(lines: Iterable[list[Event]], program: Program) -> dict[str, float]:
    """Seconds by scope, the longest first, then those in which nothing ran; together, the whole time.

    Where several operations run at once, each gets its share of that time. Loops and calls do not count
    as operations: what they run does.
    """
    events = [event for line in lines for event in line if _operation(event, program) not in CONTROL]
    edges = sorted(
        [(event.start, 1, number) for number, event in enumerate(events)]
        + [(event.end, 0, number) for number, event in enumerate(events)]
    )
    seconds: dict[str, float] = defaultdict(float)
    running: set[int] = set()
    last = edges[0][0]
    for at, starts, number in edges:
        for other in running:
            seconds[scope_of(events[other].name, program)] += (at - last) / len(running) / 1e9
        if not running:
            seconds[WAITING] += (at - last) / 1e9
        last = at
        (running.add if starts else running.discard)(number)
    waiting = seconds.pop(WAITING, 0.0)
    longest = sorted(seconds.items(), key=lambda item: -item[1])
    return dict(longest) | {WAITING: waiting}


def _operation(event: Event, program: Program) -> str:
    return program.by_name[event.name].op if event.name in program.by_name else ""


def scope_of(name: str, program: Program) -> str:
    """The scope that an instruction came from; of a fusion, that of its result.

    What XLA has added, such as copies, tells of none: it belongs where the loop does that it is in.
    """
    instruction = program.by_name.get(name)
    while instruction is not None:
        for part in reversed(re.split(r"[/()]", instruction.op_name)):
            if part in SCOPES:
                return part
        instruction = program.callers.get(instruction.name)
    return OTHER
