"""Reading what the stages left: one object for each results folder."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from remdm.base.errors import UserError


@dataclass(frozen=True)
class Result:
    """A results folder, `.../<name>/s<seed>`; the rest of what it is stands in its `run.json`."""

    folder: Path

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.recorded("seed"))

    @property
    def name(self) -> str:
        """The model, preset or policy."""
        return self.folder.parent.name

    @property
    def stage(self) -> str:
        """The stage."""
        return str(self.recorded("stage"))

    @property
    def env(self) -> str:
        """The game."""
        return str(self.recorded("config")["env_name"])

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`."""
        return read_json(self.folder / "run.json")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`, of an evaluation."""
        return read_json(self.folder / "summary.json")

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """`metrics.parquet`, of a training."""
        return read_parquet(self.folder / "metrics.parquet")

    @cached_property
    def episodes(self) -> pl.DataFrame:
        """`episodes.parquet`, of an evaluation: a row for each episode, in the order they ended."""
        return read_parquet(self.folder / "episodes.parquet")

    @cached_property
    def benchmark(self) -> dict[str, float]:
        """What Snakemake measured of the job that made it; empty where it was made by hand or moved."""
        path = Path(*self.folder.parts[:-5], "logs", *self.folder.parts[-4:]).with_suffix(".benchmark.tsv")
        if not path.is_file():
            return {}
        row = pl.read_csv(path, separator="\t", null_values=["-", "NA"], infer_schema=False).row(
            -1, named=True
        )
        return {name: float(row[name]) for name in ("s", "max_rss", "mean_load", "cpu_time") if row.get(name)}

    def recorded(self, key: str) -> Any:
        """An entry of `run.json`.

        Raises:
            UserError: it has none, for another version of the project wrote it.
        """
        if key not in self.run:
            raise UserError(f"{self.folder / 'run.json'}: has no {key}; {_remedy(self.folder / 'run.json')}")
        return self.run[key]

    def curve(self, name: str, against: str = "frames") -> tuple[np.ndarray, np.ndarray]:
        """Frames (or another column) and values of a metric, where it was measured; empty if it never was."""
        if not {name, against} <= set(self.metrics.columns):
            return np.array([]), np.array([])
        table = self.metrics.select(against, name).drop_nulls()
        return table[against].to_numpy(), table[name].to_numpy()


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file.

    Raises:
        UserError: it is missing or not whole; the message says how to get it.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise _unfinished(path) from None
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, "JSON", error) from None


def read_parquet(path: Path) -> pl.DataFrame:
    """A table from a file.

    Raises:
        UserError: it is missing or not whole; the message says how to get it.
    """
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise _unfinished(path) from None
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _unreadable(path, "parquet", error) from None


def _unfinished(path: Path) -> UserError:
    return UserError(f"{path}: is missing, so its run has not finished; `snakemake {path}` finishes it")


def _unreadable(path: Path, form: str, error: Exception) -> UserError:
    why = (str(error).splitlines() or [""])[0]
    return UserError(f"{path}: is no whole {form} file ({why}); {_remedy(path)}")


def _remedy(path: Path) -> str:
    return f"delete it, and `snakemake {path}` makes it again"


def read_results(paths: list[str]) -> list[Result]:
    """The results that files or folders belong to, each once and in order."""
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in map(Path, paths))
    return [Result(folder) for folder in folders]


def by_env(results: list[Result]) -> dict[str, list[Result]]:
    """Results of each game, in the order they come."""
    games: dict[str, list[Result]] = {}
    for result in results:
        games.setdefault(result.env, []).append(result)
    return games


def by_name(results: list[Result]) -> dict[str, list[Result]]:
    """Results of each name, its seeds, in the order they come."""
    named: dict[str, list[Result]] = {}
    for result in results:
        named.setdefault(result.name, []).append(result)
    return named


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean over at most `window` values, shorter at the ends: [N] -> [N]."""
    if window <= 1 or values.size == 0:
        return values
    kernel = np.ones(min(window, values.size))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(values.size), kernel, "same")
