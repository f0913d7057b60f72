"""What a page says of a single run: how to repeat it, its record, and its curves."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from remdm.analysis.costs import job_cost
from remdm.analysis.results import Result, smooth
from remdm.base.reader import parse_value
from remdm.config.layers import MODE_PRESETS, base_layers

POINTS = 75  # of a curve
AXES = ("update", "frames", "seconds")
# What the page shows in another way than as an entry of the record.
APART = ("config", "origin", "stage", "seed", "accepted")


class Unfinished(NamedTuple):
    """A run that is not there yet; `state` says why, in words."""

    env: str
    stage: str
    name: str
    seed: int
    folder: str
    state: str


def run_record(result: Result, page: Path) -> dict[str, Any]:
    """All that a page says of a run but its `curves`.

    Args:
        page: from where its `run.json` is linked.
    """
    defaults = base_layers(None)[0].values
    paths = {
        str(Path(value).parent) for value in result.config.values() if isinstance(value, str) and "/" in value
    }
    return {
        "folder": str(result.folder),
        "game": result.env,
        "title": f"{result.stage} {result.name}, seed {result.seed}",
        "record": Path(os.path.relpath(result.folder / "run.json", page.parent)).as_posix(),
        "command": repeat_command(result),
        "facts": dict(_facts({key: x for key, x in result.run.items() if key not in APART})),
        "config": {key: _text(value) for key, value in result.config.items()},
        "changed": [key for key, value in result.config.items() if defaults.get(key, value) != value],
        "sources": sorted(paths),
    }  # fmt: skip


def repeat_command(result: Result) -> str:
    """The call of the command that repeats a run, from the commit that made it."""
    defaults: dict[str, Any] = {}
    for layer in base_layers(MODE_PRESETS.get(result.stage)):
        defaults |= layer.values
    flags = [
        f"--{key} {shlex.quote(_given(value))}"
        for key, value in result.config.items()
        if key not in defaults or defaults[key] != value
    ]
    commit = result.run.get("git_commit")
    changed = "  # and what was not committed then" if commit and commit.endswith("+") else ""
    checkout = f"git checkout {shlex.quote(commit.rstrip('+'))}{changed}\n" if commit else ""
    return f"{checkout}uv run remdm {' '.join([result.stage, *flags, '--output', 'runs/again'])}"


def run_row(result: Result) -> dict[str, Any]:
    """What a table says of a run: its name, what it took, and what made it."""
    packages = result.run.get("packages", {})
    cost, accepted = job_cost(result), result.run.get("accepted", [])
    return {
        "run": f"{result.stage} {result.name} s{result.seed}",
        "state": "done",
        **{key: cost[key] for key in cost if key not in ("env", "stage", "name", "seed")},
        "commit": result.commit,
        # The commits at which a user let it count as current, though older code had made it.
        "accepted at": ", ".join((each["git_commit"] or "no clone")[:10] for each in accepted),
        "digest": result.run.get("digest"),
        "jax": packages.get("jax"),
        "craftax": packages.get("craftax"),
    }


def curves(result: Result) -> dict[str, Any]:
    """The metrics of a training, smoothed and thinned; empty of a run that has none.

    Returns:
        `axes`, each with the `frames` and `minutes` of some points; and by name of the metric the number of
        its axis and its values.
    """
    if not (result.folder / "metrics.parquet").is_file():
        return {}
    axes: dict[bytes, int] = {}
    found: list[dict[str, list[float]]] = []
    metrics: dict[str, list[Any]] = {}
    numeric = result.metrics.select(pl.selectors.numeric().cast(pl.Float64))  # null becomes NaN
    table = {column.name: column.to_numpy() for column in numeric}
    minutes = table["seconds"] / 60 if "seconds" in table else None
    for name, values in table.items():
        known = np.flatnonzero(np.isfinite(values))
        if name in AXES or not known.size:
            continue
        thinned = np.unique(np.linspace(0, known.size - 1, min(known.size, POINTS)).round().astype(int))
        points = known[thinned]
        if (axis := points.tobytes()) not in axes:
            axes[axis] = len(axes)
            of_time = [] if minutes is None else _rounded(minutes[points])
            found.append({"frames": table["frames"][points].tolist(), "minutes": of_time})
        metrics[name] = [axes[axis], _rounded(smooth(values[known], known.size // 25)[thinned])]
    return {"axes": found, "metrics": metrics}


def differing_keys(players: Mapping[str, Sequence[Result]]) -> list[dict[str, str | None]]:
    """The keys in which runs differ, seeds and paths apart: a row for each key, a column for each player."""
    first = {player: results[0] for player, results in players.items()}
    rows = []
    for key in dict.fromkeys(key for result in first.values() for key in result.config):
        values = {player: _text(result.config[key]) if key in result.config else None
                  for player, result in first.items()}  # fmt: skip
        told = {value for value in values.values() if value is not None}
        if len(told) > 1 and key != "seed":
            rows.append({"key": key, **values})
    return rows


def _facts(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Entries of a record as text, those of its objects by `object.entry`."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _facts(value, f"{above}{key}.")
        else:
            yield above + key, _text(value)


def _text(value: Any) -> str:
    """A value as it stands in a file of keys."""
    return value if isinstance(value, str) else json.dumps(value)


def _given(value: Any) -> str:
    """A value as a flag takes it; a string that would be read as something else is quoted."""
    return value if isinstance(value, str) and parse_value(value) == value else json.dumps(value)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]
