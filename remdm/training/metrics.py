"""The metrics of a run: parts written while it runs, one parquet file at its end."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from remdm.base.errors import UserError
from remdm.base.files import whole_file

Row = dict[str, float]
# The columns that come first; `seconds` is the wall time of running only the updates that led to the row.
FIRST = ("update", "frames", "seconds")


class MetricsTable:
    """Rows by update, in files (parts) that a killed process leaves complete.

    A part holds one chunk's rows and is named after its last update, so a resumed run drops the
    parts that lie beyond its state and writes them again.

    Attributes:
        folder: of the parts; `rewind` removes those of an earlier process that do not count.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._written = hashlib.sha256()

    def rewind(self, update: int) -> None:
        """Delete the rows after `update`."""
        for part in self._parts():
            if int(part.stem) > update:
                part.unlink()
        self._written = _sha256(self._parts())

    @property
    def checksum(self) -> str:
        """SHA-256 of the parts, concatenated, as they were written."""
        return self._written.hexdigest()

    def verify(self, checksum: str, update: int | None = None) -> None:
        """Compare the parts on the disk, or those up to an update, with their checksum.

        Raises:
            UserError: one is missing, changed or unreadable.
        """
        parts = [part for part in self._parts() if update is None or int(part.stem) <= update]
        try:
            same = _sha256(parts).hexdigest() == checksum
        except OSError as error:
            raise UserError(f"metrics {self.folder}: cannot be read ({error.strerror})") from None
        if not same:
            raise UserError(f"metrics {self.folder}: a part is damaged or missing (their checksum differs)")

    def last(self, name: str) -> float:
        """The value of a metric in the last row; 0 before the first."""
        parts = self._parts()
        return float(pl.read_parquet(parts[-1])[name][-1]) if parts else 0.0

    def write(self, rows: Sequence[Row]) -> None:
        """Write consecutive rows; each has the key `update`."""
        path = self.folder / f"{int(rows[-1]['update']):012d}.parquet"
        write_parquet(pl.DataFrame(rows, infer_schema_length=None), path)
        self._written.update(path.read_bytes())

    def finish(self, path: Path) -> None:
        """Join the parts into the file `path`; columns that a part lacks are null there.

        Columns are sorted, because their order must not depend on how updates were grouped into parts.

        Raises:
            UserError: a part differs from what was written; a resumed training computes it again.
        """
        self.verify(self.checksum)
        frames = [pl.read_parquet(part) for part in self._parts()]
        table = pl.concat(frames, how="diagonal").with_columns(pl.col("update").cast(pl.Int64)).sort("update")
        first = [name for name in FIRST if name in table.columns]
        table = table.select(*first, *sorted({*table.columns} - {*first}))
        write_parquet(table, path)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def _sha256(files: Sequence[Path]) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table, completely or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = io.BytesIO()  # writing a file itself, polars hides the type of an error
    table.write_parquet(content)
    with whole_file(path) as partial:
        partial.write_bytes(content.getbuffer())


def known(metrics: Mapping[str, Any]) -> Row:
    """Scalars as numbers, without those that are NaN, such as means over no episodes."""
    return {name: float(value) for name, value in metrics.items() if not np.isnan(value)}
