"""Metrics of one call of the compiled loop, and the rows of the table made from them."""

from typing import NamedTuple

import numpy as np

from remdm.training.algorithm import Algorithm, Metrics
from remdm.training.metrics import Row, known

# Checked for NaN and infinity. Not checked: means over episodes (NaN if none ended) and diagnostics (NaN
# between measurements).
FINITE = ("loss", "grad_norm", "env/reward")
AT_TIMES = "diag/"


class Chunk(NamedTuple):
    """Metrics of one call: arrays [limit] whose first `length` entries count, and those of a validation."""

    first: int  # updates done before it
    length: int
    metrics: Metrics
    val_metrics: Metrics


def not_finite(chunk: Chunk) -> str:
    """A line about the first metric that must be finite and is not, or nothing. Waits for the device."""
    for update in range(chunk.length):
        needed = (n for n in chunk.metrics if n.endswith(FINITE) and not n.startswith(AT_TIMES))
        for name in sorted(needed):
            values = np.ravel(np.asarray(chunk.metrics[name])[update])
            if not np.isfinite(values).all():
                return f"update {chunk.first + update + 1}: {name} = {values[~np.isfinite(values)][0]}"
    return ""


def rows_of(chunk: Chunk, algorithm: Algorithm) -> list[list[Row]]:
    """Rows of one chunk, by repetition; metrics of a validation are in the row of its last update."""
    each = (chunk.length, algorithm.repeats)
    metrics = {name: np.asarray(x)[: chunk.length].reshape(each) for name, x in chunk.metrics.items()}
    validated = {name: x for name, x in chunk.val_metrics.items() if x.ndim == (algorithm.repeats > 1)}
    rows = []
    for repeat in range(algorithm.repeats):
        of_one: list[Row] = []
        for i in range(chunk.length):
            update = chunk.first + i + 1
            row: Row = {"update": update, "frames": update * algorithm.frames_per_update}
            row |= known({name: values[i, repeat] for name, values in metrics.items()})
            if algorithm.learning_rate is not None:
                row["train/learning_rate"] = float(algorithm.learning_rate(update))
            of_one.append(row)
        of_one[-1] |= known({name: np.ravel(x)[repeat] for name, x in validated.items()})
        rows.append(of_one)
    return rows


def averaged(rows: list[list[Row]], extra: Row) -> list[Row]:
    """The mean of the repetitions' rows, update by update, with the columns `extra`."""

    def mean(same: tuple[Row, ...]) -> Row:
        names = dict.fromkeys(name for row in same for name in row)
        return {name: float(np.mean([row[name] for row in same if name in row])) for name in names}

    return [mean(same) | extra for same in zip(*rows, strict=True)]


def note_of(rows: list[Row]) -> str:
    """The metrics shown next to the progress bar."""
    shown = {"env/episode_return": "return", "val/score": "validation", "diffusion/accuracy": "accuracy"}
    latest = {name: row[key] for row in rows for key, name in shown.items() if key in row}
    return "  ".join(f"{name} {value:.2f}" for name, value in latest.items())
