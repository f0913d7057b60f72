"""The parts of a page on a single run: the command that repeats it, its record, and its curves."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from remdm.analysis.costs import job_cost
from remdm.analysis.formats import rounded
from remdm.analysis.results import Result, smooth
from remdm.base.reader import parse_value
from remdm.config.layers import MODE_PRESETS, base_layers

POINTS = 75  # of a curve
AXES = ("update", "frames", "seconds")
# Entries of the record that the page shows elsewhere.
APART = ("config", "origin", "stage", "seed", "accepted")


class Unfinished(NamedTuple):
    """A run that has no results yet; `state` is the reason, in words."""

    env: str
    stage: str
    name: str
    seed: int
    folder: str
    state: str


def run_record(result: Result, page: Path) -> dict[str, Any]:
    """All that a page shows of a run, except its `curves`.

    Args:
        page: the page, from which its `run.json` is linked.
    """
    defaults = base_layers(None)[0].values
    paths = [Path(value) for value in result.config.values() if isinstance(value, str) and "/" in value]
    return {
        "folder": str(result.folder),
        "game": result.env,
        "title": f"{result.stage} {result.name}, seed {result.seed}",
        "record": Path(os.path.relpath(result.folder / "run.json", page.parent)).as_posix(),
        "command": repeat_command(result),
        "facts": dict(_facts({key: x for key, x in result.run.items() if key not in APART})),
        "config": {key: _text(value) for key, value in result.config.items()},
        "changed": [key for key, value in result.config.items() if defaults.get(key, value) != value],
        "sources": sorted({str(path.parent) for path in paths}),
    }  # fmt: skip


def repeat_command(result: Result) -> str:
    """The commands that repeat a run, from the commit that it ran at."""
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
    """A row of a table of runs: its name, its cost, and the code and packages that it ran with."""
    packages = result.run.get("packages", {})
    cost, accepted = job_cost(result), result.run.get("accepted", [])
    return {
        "run": f"{result.stage} {result.name} s{result.seed}",
        "state": "done",
        **{key: cost[key] for key in cost if key not in ("env", "stage", "name", "seed")},
        "commit": result.commit,
        # The commits at which a user accepted it as current, although older code had made it.
        "accepted at": ", ".join((each["git_commit"] or "no clone")[:10] for each in accepted),
        "digest": result.run.get("digest"),
        "jax": packages.get("jax"),
        "craftax": packages.get("craftax"),
    }


def curves(result: Result) -> dict[str, Any]:
    """The metrics of a training, smoothed and thinned; empty for a run without metrics.

    Returns:
        `axes`, each with the `frames` and `minutes` of some points; and `metrics`, which for each metric has
        the number of its axis and its values.
    """
    if not (result.folder / "metrics.parquet").is_file():
        return {}
    axes: dict[bytes, int] = {}
    found: list[dict[str, list[Any]]] = []
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
            of_time = [] if minutes is None else rounded(minutes[points])
            found.append({"frames": table["frames"][points].tolist(), "minutes": of_time})
        metrics[name] = [axes[axis], rounded(smooth(values[known], known.size // 25)[thinned])]
    return {"axes": found, "metrics": metrics}


def differing_keys(players: Mapping[str, Sequence[Result]]) -> list[dict[str, str | None]]:
    """The keys in which runs differ, except the seed: a row for each key, a column for each player."""
    configs = {
        player: {key: _text(value) for key, value in results[0].config.items() if key != "seed"}
        for player, results in players.items()
    }
    rows = []
    for key in dict.fromkeys(key for config in configs.values() for key in config):
        values = {player: config.get(key) for player, config in configs.items()}
        if len({*values.values()} - {None}) > 1:
            rows.append({"key": key, **values})
    return rows


def _facts(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Entries of a record as text, those of nested objects named `object.entry`."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _facts(value, f"{above}{key}.")
        else:
            yield above + key, _text(value)


def _text(value: Any) -> str:
    """A value in the notation of a file of keys."""
    return value if isinstance(value, str) else json.dumps(value)


def _given(value: Any) -> str:
    """A value in the notation of a flag; a string that would be parsed as another type is quoted."""
    return value if isinstance(value, str) and parse_value(value) == value else json.dumps(value)
