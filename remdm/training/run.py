"""One job of one stage: its folders, its tracking and its record."""

import logging
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from remdm.base.clone import git_commit
from remdm.base.errors import UserError
from remdm.base.files import whole_file, write_json
from remdm.base.machine import process_peak_memory
from remdm.base.state import note_results, remove_leftovers, remove_state
from remdm.config.runtime import RuntimeConfig, TrainingRuntimeConfig
from remdm.config.stage import StageConfig
from remdm.training.lock import locked
from remdm.training.tensorboard import EventFiles
from remdm.training.tracking import Tracker, new_run_id

logger = logging.getLogger("remdm")

Watcher = Callable[[Sequence[Mapping[str, float]]], None]  # receives rows of metrics as they are written

PACKAGES = ("remdm", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "craftax", "numpy")


@dataclass
class Run:
    """A job's folders and settings; entered, it closes what it opened.

    Attributes:
        stage: its name.
        folder: receives the declared outputs.
        state: the folder of what is needed to resume; a changed configuration has another one.
        digest: of everything that determines the result.
        origin: everything that determines it, from which the digest was computed.
        started: when the process started to work, on the clock of `time.perf_counter`.
        tracker: sends metrics and models to W&B; None without `use_wandb`.
        watchers: receive the metrics, the tracker first.
    """

    stage: str
    folder: Path
    state: Path
    digest: str
    runtime: RuntimeConfig
    origin: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    tracker: Tracker | None = None
    watchers: list[Watcher] = field(default_factory=list)
    wandb_run_id: str | None = None
    _opened: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def key(self, seed: int) -> jax.Array:
        """The key of all random numbers of the stage; stages with the same seed have different keys."""
        return jax.random.fold_in(jax.random.PRNGKey(seed), zlib.crc32(self.stage.encode()))

    def open(self, config: StageConfig, wandb_run_id: str | None = None) -> None:
        """Lock the folders, before hours are spent on their contents, and start tracking.

        Only the first process does this.

        Args:
            wandb_run_id: of the run that this one extends.

        Raises:
            UserError: they cannot be created, or another process uses them.
        """
        if jax.process_index() > 0:
            return
        try:
            for folder in (self.folder, self.state):
                self._opened.enter_context(locked(folder))
            note_results(self.state, self.folder)
        except OSError as error:
            place = error.filename or f"{self.folder} or {self.state}"
            raise UserError(
                f"{place}: cannot be written ({error.strerror}); --output sets the folder of results, "
                f"and the state of a run is kept in state/ of the working folder"
            ) from None
        remove_leftovers(self.state)
        if self.runtime.use_wandb:
            self.wandb_run_id = self._choose_wandb_run_id(wandb_run_id)
            name = "-".join(self.folder.parts[-4:])
            keys = {"mode": self.stage, **config.flat()}
            self.tracker = Tracker(self.runtime, self.wandb_run_id, name, keys)
            self.watchers.insert(0, self.tracker.log)
            self._opened.callback(self.tracker.close)
        if isinstance(self.runtime, TrainingRuntimeConfig) and self.runtime.use_tensorboard:
            events = EventFiles(self.folder / "tensorboard")
            self.watchers.append(events.log)
            self._opened.callback(events.close)

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Pass metrics of updates, rows with the key `update`, to all watchers."""
        for watcher in self.watchers:
            watcher(rows)

    def _choose_wandb_run_id(self, inherited: str | None) -> str:
        """The configured one; else this run's own if it was interrupted; else that of the run it extends."""
        record = self.state / "wandb_run_id"
        runtime = self.runtime
        asked = runtime.resume_wandb_run_id if isinstance(runtime, TrainingRuntimeConfig) else None
        own = record.read_text() if record.exists() else None
        chosen = asked or own or inherited or new_run_id()
        with whole_file(record) as partial:
            partial.write_text(chosen)
        return chosen

    def finish(self, config: StageConfig, **measured: Any) -> None:
        """Write `run.json`, enough to repeat the run and what it took, and drop the state."""
        if jax.process_index() > 0:
            return
        device = jax.devices()[0]
        record = {
            "stage": self.stage,
            "config": config.flat(),
            "seed": config.seed,
            "digest": self.digest,
            "origin": dict(self.origin),
            "wandb_run_id": self.wandb_run_id,
            "git_commit": git_commit(),
            "packages": {package: installed_version(package) for package in PACKAGES},
            "python": sys.version.split()[0],
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "device": {"kind": device.device_kind, "platform": device.platform, "count": jax.device_count()},
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "wall_seconds": round(time.perf_counter() - self.started, 2),
            "peak_memory_mb": process_peak_memory() // 2**20,
            **measured,
        }
        write_json(self.folder / "run.json", record)
        # The results are complete: the same command would start a new run.
        try:
            remove_state(self.state)
        except OSError as error:
            logger.warning("%s: cannot be removed (%s)", self.state, error.strerror)


def installed_version(package: str) -> str:
    """The version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
