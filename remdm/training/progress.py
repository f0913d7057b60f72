"""Progress of a run: a bar on a terminal and in a notebook, lines elsewhere."""

import logging
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

logger = logging.getLogger("remdm")

LINE_EVERY_SECONDS = 15.0


class ProgressReport:
    """Counts frames of one stage; the rate excludes compilation."""

    def __init__(self, stage: str, total: int, enabled: bool, done: int = 0) -> None:
        self.stage, self.total, self.done, self.enabled = stage, total, done, enabled
        self.first = done
        self.started = self.last_line = time.perf_counter()
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} frames  {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not (enabled and console.is_terminal),
        )
        # In a notebook, the bar is shown once, and redrawn at each update: live, it would need ipywidgets.
        self.in_notebook = enabled and console.is_jupyter
        self.shown: Any = None

    def __enter__(self) -> "ProgressReport":
        self.bar.start()
        self.task = self.bar.add_task(self.stage, total=self.total, completed=self.done, rate="", note="")
        if self.in_notebook:
            from IPython.display import display

            self.shown = display(self.bar, display_id=True)
        return self

    def __exit__(self, *error: object) -> None:
        if not self.bar.disable:
            self.bar.stop()

    @property
    def rate(self) -> float:
        """Frames per second since this process started to run them."""
        return (self.done - self.first) / max(time.perf_counter() - self.started, 1e-9)

    def timing(self, compile_seconds: float) -> dict[str, float]:
        """Times for the record of a run, compilation and running apart."""
        return {
            "compile_seconds": round(compile_seconds, 2),
            "run_seconds": round(time.perf_counter() - self.started, 2),
            "frames_per_second": round(self.rate, 1),
        }

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` frames have been run in total."""
        self.done = done
        if not self.enabled:
            return
        if self.in_notebook or not self.bar.disable:
            self.bar.update(self.task, completed=done, rate=f"{self.rate:,.0f}/s", note=note)
            if self.in_notebook:
                self.shown.update(self.bar)
            return
        now = time.perf_counter()
        if now - self.last_line >= LINE_EVERY_SECONDS or done >= self.total:
            self.last_line = now
            left = (self.total - done) / max(self.rate, 1e-9)
            logger.info(
                f"{self.stage}  {done / self.total:4.0%}  {done:,}/{self.total:,} frames  "
                f"{self.rate:,.0f} frames/s  {left / 60:.1f} min left  {note}"
            )
