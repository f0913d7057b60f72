"""The state of an unfinished run on disk: written beside the training, the last two kept."""

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
    """Checkpoints of a running training, each named after the updates it has behind it.

    Attributes:
        tables: the rows of the run; those up to a snapshot belong to it.
    """

    def __init__(self, folder: Path, tables: Sequence[MetricsTable] = ()) -> None:
        self.folder, self.tables = folder, tables
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._writing: Future[None] | None = None
        self.saved: int | None = None  # updates behind the newest snapshot on disk
        self.seconds: float | None = None  # what writing the last one took

    def newest(self) -> Path | None:
        """The newest snapshot that is whole, as are its metrics; one that is not is named and removed.

        Of several processes the first looks, but all must call this.
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
                instead = "the snapshot before it is taken" if paths else "the run starts again"
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
        """Copy the arrays and write them in a thread; waits for the snapshot before, if it must.

        Of several processes the first writes, but all must call this.
        """
        self.wait()
        # A copy: the next chunk of updates takes over the state's buffers.
        copied = to_host(items)
        metadata = metadata | {METRICS: [table.checksum for table in self.tables]}
        if jax.process_index() == 0:
            self._writing = self._writer.submit(self._write, update, copied, metadata)

    def wait(self) -> None:
        """Until the last snapshot is on disk. A disk that is full costs that snapshot, not the run."""
        if self._writing is None:
            return
        try:
            self._writing.result()
        except UserError as error:
            logger.warning("%s; training goes on with the snapshot before it", error)
        self._writing = None

    def close(self) -> None:
        """Finish what is being written."""
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
