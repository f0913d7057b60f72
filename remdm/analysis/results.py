"""Reading the results of stages: one object for each results folder."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from remdm.base import files
from remdm.base.arrays import read_npz
from remdm.base.errors import UserError, reason_of

T = TypeVar("T")
FORMS = {".json": "JSON"}  # of other files, the format is named like the suffix


@dataclass(frozen=True)
class Result:
    """A results folder, `.../<name>/s<seed>`; its `run.json` records the rest of what it is."""

    folder: Path

    @property
    def record(self) -> Path:
        """The folder of its `run.json`: of repetitions, `r0` and so on, the folder above."""
        is_repetition = re.fullmatch(r"r\d+", self.folder.name) and not (self.folder / "run.json").exists()
        return self.folder.parent if is_repetition else self.folder

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
    def policy(self) -> str:
        """The name under which the policy that a training trained is evaluated."""
        return self.name if self.stage == "ppo" else f"{self.stage}-{self.name}"

    @property
    def config(self) -> dict[str, Any]:
        """All keys."""
        return dict(self.recorded("config"))

    @property
    def env(self) -> str:
        """The game."""
        return str(self.config["env_name"])

    @property
    def commit(self) -> str:
        """The commit of the code that ran."""
        return str(self.recorded("git_commit") or "no clone")[:10]

    @property
    def device(self) -> str:
        """What it ran on, in words."""
        device = self.recorded("device")
        return f"{device['count']} × {device['kind']}, {self.recorded('cpus')} CPUs"

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`."""
        return read_json(self.record / "run.json")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`, of an evaluation."""
        return read_json(self.folder / "summary.json")

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """`metrics.parquet`, of a training."""
        return read_parquet(self.folder / "metrics.parquet")

    @property
    def episodes(self) -> pl.DataFrame:
        """The episodes that an evaluation's protocol counts, in the order they ended."""
        counts_all = self.config["eval_protocol"] == "first_episode"
        return self._episodes if counts_all else self._episodes.filter("finished")

    @cached_property
    def returns(self) -> np.ndarray:
        """The returns of `episodes` [N]."""
        return self.episodes["return"].to_numpy()

    @property
    def first_episodes(self) -> pl.DataFrame:
        """The first episode of each environment; those that did not end, up to the last step."""
        return self._episodes.filter(pl.col("episode") == 0)

    @cached_property
    def _episodes(self) -> pl.DataFrame:
        """`episodes.parquet`, a row for each episode."""
        path = self.folder / "episodes.parquet"
        table = read_parquet(path)
        if missing := {"episode", "finished"} - set(table.columns):
            raise UserError(f"{path}: has no {' and no '.join(sorted(missing))}; {_again(path)}")
        return table

    @cached_property
    def benchmark(self) -> dict[str, float]:
        """What Snakemake measured of its job; empty if it was made by hand or moved."""
        path = Path(*self.folder.parts[:-5], "logs", *self.folder.parts[-4:]).with_suffix(".benchmark.tsv")
        if not path.is_file():
            return {}
        table = pl.read_csv(path, separator="\t", null_values=["-", "NA"], infer_schema=False)
        row = table.row(-1, named=True)
        return {name: float(row[name]) for name in ("s", "max_rss", "cpu_time") if row.get(name)}

    def recorded(self, key: str) -> Any:
        """An entry of `run.json`.

        Raises:
            UserError: it has none, because another version of the project wrote it.
        """
        if key not in self.run:
            raise UserError(f"{self.record / 'run.json'}: has no {key}; {_again(self.record / 'run.json')}")
        return self.run[key]

    def curve(self, name: str, against: str = "frames") -> tuple[np.ndarray, np.ndarray]:
        """Frames (or another column) and values of a metric where it was measured [N]; N = 0 if never."""
        if not {name, against} <= set(self.metrics.columns):
            return np.array([]), np.array([])
        table = self.metrics.select(against, name).drop_nulls()
        return table[against].to_numpy(), table[name].to_numpy()


def read_json(path: Path, remedy: str | None = None) -> dict[str, Any]:
    """An object from a file; arguments and errors as of `read_file`."""
    return read_file(path, lambda path: dict(files.read_json(path)), remedy)


def read_parquet(path: Path, remedy: str | None = None) -> pl.DataFrame:
    """A table from a file; arguments and errors as of `read_file`."""
    return read_file(path, pl.read_parquet, remedy)


def read_arrays(
    path: Path, names: Sequence[str] | None = None, remedy: str | None = None
) -> dict[str, np.ndarray]:
    """Arrays from a file, all if no names are given; other arguments and errors as of `read_file`."""
    return read_file(path, lambda path: read_npz(path, names), remedy)


def read_file(path: Path, reader: Callable[[Path], T], remedy: str | None = None) -> T:
    """The content of a file, read by `reader`.

    Args:
        remedy: how to make the file again; by Snakemake if None.

    Raises:
        UserError: it is missing or not whole; the message is one line and names the remedy.
    """
    try:
        return reader(path)
    except FileNotFoundError:
        way = f"so its run has not finished; `snakemake {path}` finishes it"
        raise UserError(f"{path}: is missing{f'; {remedy}' if remedy else f', {way}'}") from None
    except (Exception, pl.exceptions.PanicException) as error:  # zipfile and numpy raise many types
        form = FORMS.get(path.suffix, path.suffix[1:])
        why, way = reason_of(error), remedy or _again(path)
        raise UserError(f"{path}: is no whole {form} file ({why}); {way}") from None


def _again(path: Path) -> str:
    return f"delete it, and `snakemake {path}` makes it again"


def read_results(paths: list[str]) -> list[Result]:
    """The results that files or folders belong to, each once and in order."""
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in map(Path, paths))
    return [Result(folder) for folder in folders]


def grouped(items: Iterable[T], *attributes: str) -> dict[Any, list[T]]:
    """Items by an attribute such as `env`, or by a tuple of several, in the order they come."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(attrgetter(*attributes)(item), []).append(item)
    return groups


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean over at most `window` values, shorter at the ends: [N] -> [N].

    Values with gaps (NaN) stay as they are: a mean would widen the gaps.
    """
    if window <= 1 or values.size == 0 or np.isnan(values).any():
        return values
    kernel = np.ones(min(window, values.size))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(values.size), kernel, "same")
