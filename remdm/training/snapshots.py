"""The state of an unfinished run on disk, written by a thread; the last two are kept."""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from remdm.base.checkpoint_folder import read_metadata
from remdm.base.errors import UserError
from remdm.training import checkpoint
from remdm.training.devices import agreed, to_host
from remdm.training.metrics import MetricsTable

logger = logging.getLogger("remdm")

KEPT = 2
METRICS = "metrics_sha256"  # in the metadata: of each table, up to the snapshot


class Snapshots:
    """Checkpoints of a running training, each named after the number of updates done.

    Attributes:
        tables: the rows of the run; those up to a snapshot belong to it.
    """

    def __init__(self, folder: Path, tables: Sequence[MetricsTable] = ()) -> None:
        self.folder, self.tables = folder, tables
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._writing: Future[None] | None = None
        self.saved: int | None = None  # updates done at the newest snapshot on disk
        self.seconds: float | None = None  # time to write the last one

    def newest(self) -> Path | None:
        """The newest intact snapshot with intact metrics; damaged ones are logged and removed.

        Only the first process reads them, but all must call this.
        """
        path = self._newest() if jax.process_index() == 0 else None
        [update] = agreed(-1 if path is None else int(path.name))
        self.saved = update if update >= 0 else None
        return self._path(update) if update >= 0 else None

    def _newest(self) -> Path | None:
        for partial in self.folder.glob(".*"):
            shutil.rmtree(partial, ignore_errors=True)
        paths = self._all()
        while paths:
            path = paths.pop()
            try:
                checkpoint.verify(path, needed=True)
                checksums = read_metadata(path)[METRICS]
                for table, checksum in zip(self.tables, checksums, strict=False):
                    table.verify(checksum, int(path.name))
            except (UserError, OSError) as error:
                instead = "the snapshot before it is used" if paths else "the run starts again"
                logger.warning("snapshot %s: not usable: %s; %s", path.name, error, instead)
                shutil.rmtree(path, ignore_errors=True)
            else:
                return path
        return None

    @property
    def busy(self) -> bool:
        """Whether the last snapshot is still being written."""
        return self._writing is not None and not self._writing.done()

    def save(self, update: int, items: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        """Copy the arrays and write them in a thread; waits until the snapshot before is written.

        Only the first process writes, but all must call this.
        """
        self.wait()
        # A copy, because the state's buffers are donated to the next chunk of updates.
        copied = to_host(items)
        metadata = metadata | {METRICS: [table.checksum for table in self.tables]}
        if jax.process_index() == 0:
            self._writing = self._writer.submit(self._write, update, copied, metadata)

    def wait(self) -> None:
        """Wait until the last snapshot is on disk. If it cannot be written, training continues without it."""
        if self._writing is None:
            return
        try:
            self._writing.result()
        except UserError as error:
            logger.warning("%s; training continues, and the snapshot before it is kept", error)
        self._writing = None

    def close(self) -> None:
        """Finish writing."""
        self.wait()
        self._writer.shutdown()

    def _write(self, update: int, items: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        began = time.perf_counter()
        checkpoint.save(self._path(update), items, metadata)
        self.saved, self.seconds = update, time.perf_counter() - began
        for old in self._all()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _path(self, update: int) -> Path:
        return self.folder / f"{update:012d}"

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.name.isdigit())
