"""Reading what the stages left: one object for each results folder."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Result:
    """A results folder, `.../<name>/s<seed>`; the rest of what it is stands in its `run.json`."""

    folder: Path

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.run["seed"])

    @property
    def name(self) -> str:
        """The model, preset or policy."""
        return self.folder.parent.name

    @property
    def stage(self) -> str:
        """The stage."""
        return str(self.run["stage"])

    @property
    def env(self) -> str:
        """The game."""
        return str(self.run["config"]["env_name"])

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`."""
        return dict(json.loads((self.folder / "run.json").read_text()))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`, of an evaluation."""
        return dict(json.loads((self.folder / "summary.json").read_text()))

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """`metrics.parquet`, of a training."""
        return pl.read_parquet(self.folder / "metrics.parquet")

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Frames and values of a metric, where it was measured; empty if it never was."""
        if name not in self.metrics.columns:
            return np.array([]), np.array([])
        table = self.metrics.select("frames", name).drop_nulls()
        return table["frames"].to_numpy(), table[name].to_numpy()


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


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean over at most `window` values, shorter at the ends: [N] -> [N]."""
    if window <= 1 or values.size == 0:
        return values
    kernel = np.ones(min(window, values.size))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(values.size), kernel, "same")
