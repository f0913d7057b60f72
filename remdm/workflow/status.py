"""Prints finished jobs, running jobs and the estimated remaining time between Snakemake's own lines."""

import logging
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from remdm.workflow.progress import duration

SECONDS_BETWEEN_LINES = 60.0
# Added to measured and expected seconds for the pace, because the first jobs are small and share the machine.
TRUSTED_SECONDS = 120.0
OTHER = "other"


@dataclass(frozen=True)
class RunningJob:
    """A job in progress; `share` is its part of the cores."""

    rule: str
    label: str
    started: float
    share: float


class Status(logging.Handler):
    """Handles the events that Snakemake logs; after `begin`, prints a line every minute and after every job.

    Durations are in seconds of the whole machine: a job that uses half of the cores for a minute counts
    30. A rule's jobs are expected to take the mean of its finished jobs or, without any, the time in
    `expected`, scaled by this machine's measured pace.

    Args:
        expected: seconds of the whole machine that a job takes, by rule; under OTHER, for any other rule.
        cores: the cores that jobs share.
    """

    def __init__(
        self,
        expected: Mapping[str, float],
        cores: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.expected, self.cores = expected, cores
        self.stream, self.clock = stream or sys.stderr, clock
        self.waiting: Counter[str] = Counter()
        self.running: dict[int, RunningJob] = {}
        self.took: dict[str, list[float]] = defaultdict(list)
        self.total = 0
        self.began: float | None = None

    def begin(self) -> None:
        """Start printing; called by Snakemake (`onstart`) after planning, but not in a dry run."""
        self.began = self.clock()
        threading.Thread(target=self._repeat, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Record an event."""
        event: Any = record.__dict__
        match event.get("event"):
            case "run_info":
                self.waiting = Counter({rule: n for rule, n in event["stats"].items() if rule != "total"})
                self.total = self.waiting.total()
            case "job_info":
                self._start(event)
            case "job_finished":
                self._finish(event["job_id"])
            case "job_error":
                failed = self.running.pop(event["jobid"], None)
                self.waiting.update([failed.rule] if failed else [])  # it may be retried

    def _start(self, event: Mapping[str, Any]) -> None:
        rule, wildcards = event["rule_name"], event["wildcards"] or {}
        named = next((wildcards[key] for key in ("name", "figure", "table") if key in wildcards), None)
        label = rule if named is None else f"{rule} {named}"
        share = min(1.0, event["threads"] / self.cores)
        self.waiting[rule] -= 1
        self.running[event["jobid"]] = RunningJob(rule, label, self.clock(), share)

    def _finish(self, number: int) -> None:
        job = self.running.pop(number, None)
        if job is not None:
            self.took[job.rule].append((self.clock() - job.started) * job.share)
            self._print()

    def _repeat(self) -> None:
        while True:
            time.sleep(SECONDS_BETWEEN_LINES)
            self.acquire()
            try:
                self._print()
            finally:
                self.release()

    def _print(self) -> None:
        if self.began is not None and self.done < self.total:
            print(self.line(), file=self.stream, flush=True)

    @property
    def done(self) -> int:
        """The number of finished jobs."""
        return sum(map(len, self.took.values()))

    def line(self) -> str:
        """The current status line."""
        now = self.clock()
        passed = f"{(0.0 if self.began is None else now - self.began) / 60:.1f} min"
        jobs = sorted(self.running.values(), key=lambda job: job.started)
        running = ", ".join(f"{job.label} ({duration(now - job.started)})" for job in jobs)
        left, unknown = self._left(now)
        parts = [f"{self.done} of {self.total} jobs done in {passed}"]
        parts += [f"running: {running}"] if running else []
        parts += [f"about {duration(left)} left"]
        parts += [f"jobs of unknown duration: {unknown}"] if unknown else []
        return f"status: {'; '.join(parts)}"

    def _left(self, now: float) -> tuple[float, int]:
        """Estimated seconds until all jobs of known duration are done, and the number of the other jobs."""
        guessed = sum(self._guess(rule) or 0.0 for rule, took in self.took.items() for _ in took)
        seen = sum(sum(took) for rule, took in self.took.items() if self._guess(rule))
        pace = (seen + TRUSTED_SECONDS) / (guessed + TRUSTED_SECONDS)
        left, unknown = 0.0, 0
        for rule, elapsed, count in [
            *((rule, 0.0, count) for rule, count in self.waiting.items() if count > 0),
            *((job.rule, (now - job.started) * job.share, 1) for job in self.running.values()),
        ]:
            if took := self.took.get(rule):
                seconds = sum(took) / len(took)
            elif guess := self._guess(rule):
                seconds = guess * pace
            else:
                unknown += count
                continue
            left += count * max(0.0, seconds - elapsed)
        return left, unknown

    def _guess(self, rule: str) -> float | None:
        return self.expected.get(rule, self.expected.get(OTHER))
