"""The metrics of a run: parts written as it goes, one parquet file at the end."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from remdm.base.files import whole_file

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, float]
# The columns that come first; `seconds` counts the wall time of running, of what led to the row alone.
FIRST = ("update", "frames", "seconds")


class MetricsTable:
    """Rows by update, in parts that survive the process.

    A part holds one chunk's rows and is named after its last update, so a resumed run drops the
    parts that lie beyond its state and writes them again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def rewind(self, update: int) -> None:
        """Forget the rows after `update`."""
        for part in self._parts():
            if int(part.stem) > update:
                part.unlink()

    def last(self, name: str) -> float:
        """The value of a metric in the last row; 0 before the first."""
        import polars as pl

        parts = self._parts()
        return float(pl.read_parquet(parts[-1])[name][-1]) if parts else 0.0

    def write(self, rows: Sequence[Row]) -> None:
        """Write consecutive rows; each has the key `update`."""
        import polars as pl

        path = self.folder / f"{int(rows[-1]['update']):012d}.parquet"
        write_parquet(pl.DataFrame(rows, infer_schema_length=None), path)

    def finish(self, path: Path) -> None:
        """Join the parts into the file `path`; what a part has no value for is null.

        Columns are sorted: which of them comes first must not depend on how updates fell into parts.
        """
        import polars as pl

        frames = [pl.read_parquet(part) for part in self._parts()]
        table = pl.concat(frames, how="diagonal").with_columns(pl.col("update").cast(pl.Int64)).sort("update")
        first = [name for name in FIRST if name in table.columns]
        table = table.select(*first, *sorted({*table.columns} - {*first}))
        write_parquet(table, path)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def write_parquet(table: "pl.DataFrame", path: Path) -> None:
    """Write a table, all of it or nothing.

    Raises:
        OSError: the disk does not take it.
    """
    content = io.BytesIO()  # writing to the disk itself, polars would hide what kind of error it was
    table.write_parquet(content)
    with whole_file(path) as partial:
        partial.write_bytes(content.getbuffer())


def to_rows(metrics: dict[str, np.ndarray], first_update: int, frames_per_update: int) -> list[Row]:
    """Metrics stacked over updates, [N] each, as rows; NaN (no episode ended) becomes absent."""
    count = len(next(iter(metrics.values())))
    rows = []
    for i in range(count):
        update = first_update + i + 1
        row: Row = {"update": update, "frames": update * frames_per_update}
        row |= {name: float(values[i]) for name, values in metrics.items() if not np.isnan(values[i])}
        rows.append(row)
    return rows
