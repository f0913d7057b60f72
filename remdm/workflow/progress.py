"""The progress of each job of a scale, read only from files: results, states, locks and logs.

Nothing is locked or written, so this is safe while Snakemake runs, and works on any machine that can read the
files of a cluster.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from remdm.base.holder import LOCK, Holder, holder_of
from remdm.base.state import STATE
from remdm.config.training import TrainingConfig
from remdm.workflow.job import Job
from remdm.workflow.plan import Plan

LOGS = Path("logs")
STATES = ("done", "waiting", "stopped", "running", "failed")
QUIET_SECONDS = 600.0  # after so long without a change of its files, a job on another host may have ended
STARTING_SECONDS = 60.0  # from the start of a job's log until it has locked its folders
RECENT = 20  # newest parts of the metrics, from which the rate is computed
TAIL = 16 * 2**10  # bytes read from the end of a log


@dataclass(frozen=True)
class Progress:
    """The state of a job, one of `STATES`, and a note with details."""

    job: Job
    state: str
    note: str = ""

    @property
    def text(self) -> str:
        """State and note."""
        return f"{self.state}, {self.note}" if self.note else self.state


def progress_of(plan: Plan) -> list[Progress]:
    """The progress of every job, in the plan's order."""
    found: dict[Job, Progress] = {}
    for job in plan.jobs:  # each after those it depends on
        if plan.is_settled(job):
            found[job] = Progress(job, "done")
        else:
            found[job] = _unfinished(plan, job) or _waiting(plan, job, found)
    return list(found.values())


def log_of(job: Job) -> Path:
    """The path of the log of a job of the pipeline."""
    return LOGS / job.env / job.stage / job.name / f"s{job.seed}.log"


def _unfinished(plan: Plan, job: Job) -> Progress | None:
    """The progress of a job that runs, has failed or was stopped; None if it has not begun."""
    state, log = STATE / plan.digest(job), log_of(job)
    if (holder := holder_of(state)) is not None and not holder.has_ended:
        return Progress(job, "running", ", ".join(_running(plan, job, state, holder)))
    begun = _changed(log) > _changed(Path(job.record))
    if begun and (reason := _reason(log)):
        return Progress(job, "failed", f"{reason} ({log})")
    if begun and time.time() - _changed(log) < STARTING_SECONDS:
        return Progress(job, "running", "starting")
    if state.is_dir():
        notes = [text for text in (_share(plan, job, state), _cluster_reason(job)) if text]
        return Progress(job, "stopped", "; ".join(["resumes when it is called again", *notes]))
    return None


def _waiting(plan: Plan, job: Job, found: dict[Job, Progress]) -> Progress:
    missing = [
        found[maker]
        for maker in plan.dependencies(job).values()
        if isinstance(maker, Job) and found[maker].state != "done"
    ]
    if missing:
        first = missing[0]
        failed = ", which failed" if first.state == "failed" else ""
        return Progress(job, "waiting", f"for {_short(first.job)}{failed}")
    made = Path(job.record).exists()
    return Progress(job, "waiting", "made with other keys or code" if made else "")


def _running(plan: Plan, job: Job, state: Path, holder: Holder) -> Iterator[str]:
    """Parts of the note on a job in progress."""
    parts = _parts(state)
    if share := _share(plan, job, state):
        yield share
        if left := _seconds_left(plan, job, parts):
            yield f"{duration(left)} left"
    else:
        yield f"for {duration(time.time() - _changed(state / LOCK))}"
    if not holder.is_here:
        yield f"on {holder.host}"
        quiet = time.time() - max(map(_changed, (log_of(job), state, *parts[-1:])))
        if quiet > QUIET_SECONDS:
            yield f"no sign of it for {duration(quiet)}"


def _share(plan: Plan, job: Job, state: Path) -> str | None:
    """The completed share of a training; None if no metrics are written yet, or the job does not train."""
    config, parts = plan.configs[job], _parts(state)
    if not (isinstance(config, TrainingConfig) and parts):
        return None
    return f"{int(parts[-1].stem) / config.num_updates:.0%} of {config.num_updates:,} updates"


def _seconds_left(plan: Plan, job: Job, parts: list[Path]) -> float | None:
    """The estimated remaining time, from the times at which the newest parts of the metrics were written."""
    config = plan.configs[job]
    assert isinstance(config, TrainingConfig)
    recent = parts[-RECENT:]
    done, seconds = int(recent[-1].stem), _changed(recent[-1]) - _changed(recent[0])
    updates = done - int(recent[0].stem)
    if updates <= 0 or seconds <= 0:
        return None
    return max(0.0, (config.num_updates - done) * seconds / updates - (time.time() - _changed(recent[-1])))


def _parts(state: Path) -> list[Path]:
    """The metrics that a training has written, in parts that are named after their last updates."""
    return sorted((state / "metrics" / "r0").glob("*.parquet"))


def _reason(log: Path) -> str | None:
    """The last line of a log, if it ends with an error."""
    lines = _tail(log)
    if not lines:
        return None
    last = re.sub(r"^\d\d:\d\d:\d\d  ", "", lines[-1])
    is_error = last.startswith("error: ") or any(line.startswith("Traceback (most") for line in lines)
    return last if is_error else None


def _cluster_reason(job: Job) -> str | None:
    """Slurm's last error when it ended the job, such as an exceeded limit of time or memory."""
    folder = LOGS / "slurm" / f"rule_{job.stage}" / f"{job.env}_{job.name}_{job.seed}"
    newest = max(folder.glob("*.log"), key=_changed, default=None)
    errors = [line for line in (_tail(newest) if newest else []) if line.startswith("slurmstepd: error: ")]
    return errors[-1].removeprefix("slurmstepd: error: ") if errors else None


def _tail(path: Path) -> list[str]:
    """The non-empty lines at the end of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _changed(path: Path) -> float:
    """The modification time of a file; 0 if it does not exist."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _short(job: Job) -> str:
    return f"{job.stage} {job.name} s{job.seed}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that leaves two digits or more."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
