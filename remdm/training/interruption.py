"""Reasons to stop early: a signal, or a time limit."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from remdm.config.runtime import TrainingRuntimeConfig

SIGNALS = (signal.SIGTERM, signal.SIGINT)
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


class Interrupted(Exception):
    """The run stopped early and has saved its state; `status` is the exit status."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


def deadline(runtime: TrainingRuntimeConfig, started: float) -> float | None:
    """When the run must have ended, on the clock of `time.perf_counter`: by its key, or by Slurm.

    Args:
        started: when the process began to work, on the same clock.
    """
    if runtime.time_limit_minutes is not None:
        return started + 60 * runtime.time_limit_minutes
    slurm = os.environ.get("SLURM_JOB_END_TIME")  # seconds since 1970
    return time.perf_counter() + float(slurm) - time.time() if slurm else None


class Interruption:
    """Notes SIGTERM and SIGINT while it is entered; a second signal acts as it would without it."""

    def __init__(self, end: float | None) -> None:
        self.end = end
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reason(self, needed_seconds: float) -> Interrupted | None:
        """Why the run should stop now, if it should.

        Args:
            needed_seconds: what the next chunk and saving would take.
        """
        if self.signal is not None:
            return Interrupted(self.signal.name, 128 + self.signal)
        if self.end is not None and time.perf_counter() + needed_seconds > self.end:
            return Interrupted("the time limit", TRY_AGAIN)
        return None
