"""Reasons to stop early: a signal, or a time limit."""

import logging
import os
import re
import signal
import subprocess
import threading
import time
from types import FrameType
from typing import Any

from remdm.base.errors import Interrupted
from remdm.config.runtime import TrainingRuntimeConfig

logger = logging.getLogger("remdm")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last when the terminal is closed
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


def deadline(runtime: TrainingRuntimeConfig, started: float) -> float | None:
    """When the run must have ended, on the clock of `time.perf_counter`: from its key, else from Slurm.

    Args:
        started: when the process started to work, on the same clock.
    """
    if runtime.time_limit_minutes is not None:
        return started + 60 * runtime.time_limit_minutes
    end = _slurm_end()
    return None if end is None else time.perf_counter() + end - time.time()


def _slurm_end() -> float | None:
    """When Slurm will end this job, in seconds since 1970; None where there is no Slurm."""
    end_time, job = os.environ.get("SLURM_JOB_END_TIME"), os.environ.get("SLURM_JOB_ID")
    if end_time is None and job is None:
        return None
    # The variable may be inherited from the submitting shell or an earlier job: older Slurm versions do not
    # set it, and some omit it in steps. It also ignores that a job's time may have been extended.
    try:
        answers = [] if job is None else [_asked(job)]
    except (OSError, subprocess.SubprocessError) as error:
        answers, reason = [], str(error)
    for answer in answers if end_time is None else [*answers, end_time]:
        if not re.fullmatch(r"\s*[1-9]\d*\s*", answer):
            reason = f"{answer.strip()!r} is not in seconds since 1970"
        elif float(answer) > time.time():
            return float(answer)
        else:
            reason = f"{answer.strip()} is past, as of a job that has ended"
    logger.warning("job %s: no time of its end from Slurm (%s); set time_limit_minutes", job, reason)
    return None


def _asked(job: str) -> str:
    in_seconds = os.environ | {"SLURM_TIME_FORMAT": "%s"}
    ask = ["squeue", "--noheader", "--format=%e", f"--jobs={job}"]
    return subprocess.run(ask, env=in_seconds, capture_output=True, text=True, timeout=60, check=True).stdout


class Interruption:
    """Records SIGTERM, SIGINT and SIGHUP within its context; a second signal acts as it would without it.

    SIGHUP stays ignored if it was, as under `nohup`; else output to the terminal, which is gone after it, is
    discarded.
    """

    def __init__(self, end: float | None) -> None:
        self.end = end
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}
        self._terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            noted = [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]
            self._before = {number: signal.signal(number, self._note) for number in noted}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGHUP:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in self._terminals:
                os.dup2(nowhere, stream)
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
