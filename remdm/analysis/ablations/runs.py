"""The runs of the suite: the results of each, and which are missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from remdm.analysis.results import Result, grouped, read_arrays, read_json, read_parquet
from remdm.base.errors import ConfigError, UserError
from remdm.config.arms import ARMS, BASELINE

SCORE = "val/first_return"
ACHIEVEMENT = "val/achievement/"
LAYER_NORM, LAYER_COSINE, BIN_NORM = "diag/layer_grad_norm/", "diag/layer_cosine/", "diag/t_bin_grad_norm/"
EVALUATION = tuple(
    f"{what}_{when}" for when in ("before", "after") for what in ("counts", "bigrams", "return")
)

# Keys in which runs may differ and still be compared: those that identify a run, and those of resuming.
OWN_KEYS = {"arm", "seed", "num_repeats", "resume_checkpoint_path", "resume_step"}
# Each seed has its own pretrained planner, from which all arms of that seed must start.
SEED_KEYS = {"checkpoint_path"}


@dataclass(frozen=True)
class ArmRun(Result):
    """One arm with one seed."""

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`."""
        run = read_json(self.record / "run.json", self._remedy)
        for key in ("arm", "env_name", "seed"):
            if key not in run.get("config", {}):
                raise UserError(f"{self.record / 'run.json'}: config.{key} is missing; {self._remedy}")
        return run

    @property
    def arm(self) -> str:
        """The name of the arm."""
        return str(self.config["arm"])

    @property
    def replicate(self) -> str:
        """The seed, and the repetition if there are several, such as `0.r1`."""
        repetition = "" if self.folder == self.record else f".{self.folder.name}"
        return f"{self.seed}{repetition}"

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """`metrics.parquet`: a row for each update, null where nothing was measured."""
        path = self.folder / "metrics.parquet"
        table = read_parquet(path, self._remedy)
        if "update" not in table.columns or table.is_empty():
            raise UserError(f"{path}: has no updates; {self._remedy}")
        return table.with_columns(pl.selectors.float().fill_nan(None)).sort("update")

    @cached_property
    def pretrained(self) -> dict[str, float | None]:
        """The evaluation of the pretrained weights on the same worlds."""
        path = self.folder / "pretrained.parquet"
        table = read_parquet(path, self._remedy)
        if table.height != 1:
            raise UserError(f"{path}: has {table.height} rows, not 1; {self._remedy}")
        return table.with_columns(pl.selectors.float().fill_nan(None)).row(0, named=True)

    @cached_property
    def evaluation(self) -> dict[str, np.ndarray]:
        """Before and after: counts of actions [V] and of successive pairs [V, V], and returns [E].

        The returns are those of the first episode in each world; all arms of a seed have the same worlds.
        """
        return read_arrays(self.folder / "evaluation.npz", EVALUATION, self._remedy)

    @cached_property
    def evaluations(self) -> pl.DataFrame:
        """The rows of `metrics` with an evaluation."""
        if SCORE not in self.metrics.columns:
            return self.metrics.clear()
        return self.metrics.filter(pl.col(SCORE).is_not_null())

    @property
    def score(self) -> float:
        """The mean return of the last evaluation's first episodes."""
        return float(self.evaluation["return_after"].mean())

    def final(self, name: str) -> float | None:
        """A metric of the last evaluation."""
        rows = self.evaluations
        return None if name not in rows.columns or rows.is_empty() else rows[name][-1]

    def values(self, name: str) -> np.ndarray:
        """All values of a metric in order, where it was measured: [N]."""
        return super().curve(name, "update")[1]

    def curve(self, name: str, against: str = "update") -> tuple[np.ndarray, np.ndarray]:
        """As of any result; metrics of evaluations at every evaluation, NaN where no episode ended."""
        if not name.startswith("val/") or name not in self.metrics.columns:
            return super().curve(name, against)
        return self.evaluations[against].to_numpy(), self.evaluations[name].cast(pl.Float64).to_numpy()

    @property
    def _remedy(self) -> str:
        return f"delete {self.record} and run this arm and seed again"


@dataclass(frozen=True)
class Suite:
    """The runs that are compared.

    Attributes:
        arms: those requested, in the order of the registry.
        runs: the finished runs of each of them.
        missing: folders that were requested and have no finished run.
    """

    arms: tuple[str, ...]
    runs: dict[str, list[ArmRun]]
    missing: tuple[Path, ...]

    @property
    def all_runs(self) -> list[ArmRun]:
        """Every finished run."""
        return [run for runs in self.runs.values() for run in runs]

    @property
    def config(self) -> dict[str, Any]:
        """The keys that all runs share."""
        return {k: v for k, v in self.all_runs[0].config.items() if k not in OWN_KEYS | SEED_KEYS}

    @property
    def env(self) -> str:
        """The game."""
        return self.all_runs[0].env

    def of(self, arm: str) -> list[ArmRun]:
        """The runs of an arm; none if it is missing."""
        return self.runs.get(arm, [])

    @property
    def shown(self) -> str:
        """The arm of figures that show a single one: the baseline, or the first arm if it is missing."""
        return BASELINE if BASELINE in self.runs else next(iter(self.runs))

    @property
    def seeds(self) -> list[str]:
        """All seeds, in the order they come."""
        return list(grouped(self.all_runs, "replicate"))

    def scores(self, arm: str) -> np.ndarray:
        """The scores of an arm's runs: [N]."""
        return np.array([run.score for run in self.of(arm)], float)

    def to_baseline(self, arm: str) -> list[np.ndarray]:
        """For each seed that both have, the arm's less the baseline's return in each world [E]."""
        others = {run.replicate: run.evaluation["return_after"] for run in self.of(BASELINE)}
        return [
            run.evaluation["return_after"] - others[run.replicate]
            for run in self.of(arm)
            if run.replicate in others
        ]

    def to_pretrained(self, arm: str) -> list[np.ndarray]:
        """For each seed, the arm's less the pretrained planner's return in each world [E]."""
        return [run.evaluation["return_after"] - run.evaluation["return_before"] for run in self.of(arm)]

    def pretrained(self, name: str) -> np.ndarray:
        """A metric of the pretrained planner for each seed that has one, arms of a seed averaged: [N]."""
        known = [run for run in self.all_runs if run.pretrained.get(name) is not None]
        seeds = grouped(known, "replicate").values()
        return np.array([np.mean([run.pretrained[name] for run in runs]) for runs in seeds])

    def columns(self, prefix: str) -> list[str]:
        """The names of all runs' metrics with a prefix, without that prefix, in the order they come."""
        names = (name for run in self.all_runs for name in run.metrics.columns if name.startswith(prefix))
        return [name.removeprefix(prefix) for name in dict.fromkeys(names)]

    @property
    def bins(self) -> list[str]:
        """The bins of t whose gradients were measured, from low to high."""
        return sorted(self.columns(BIN_NORM), key=int)

    def average(self, arm: str, name: str, of: Callable[[np.ndarray], float] = np.mean) -> float | None:
        """A summary of a metric over training, averaged over an arm's runs; None if never measured."""
        values = [of(found) for run in self.of(arm) if (found := run.values(name)).size]
        return float(np.mean(values)) if values else None


def read_suite(folders: Sequence[str]) -> Suite:
    """The runs in folders `.../<arm>/s<seed>`; a folder without a finished run counts as missing.

    Raises:
        UserError: an unknown arm, one run twice, no run at all, or a file that cannot be read.
        ConfigError: keys that decide results differ between runs.
    """
    paths = list(dict.fromkeys(map(Path, folders)))
    missing = tuple(path for path in paths if not (path / "run.json").is_file())
    found = [run for path in paths if path not in missing for run in _runs_in(path)]
    for (arm, seed), twins in grouped(found, "arm", "replicate").items():
        if len(twins) > 1:
            one, other = twins[0].folder, twins[1].folder
            raise UserError(f"{one} and {other}: are both {arm}, seed {seed}; drop one")
    runs = grouped(found, "arm")
    names = [entry.name for entry in ARMS]
    asked = {*runs, *(path.parent.name for path in missing)}
    for arm in asked:
        if arm not in names:
            raise UserError(f"arm = {arm}: is none of {', '.join(names)}")
    if not runs:
        place = folders[0] if folders else "no folder"
        raise UserError(f"{place}: no finished run; run `remdm ablations` first")
    ordered = {arm: runs[arm] for arm in names if arm in runs}
    suite = Suite(tuple(arm for arm in names if arm in asked), ordered, missing)
    _check_poolable(suite.all_runs, OWN_KEYS | SEED_KEYS)
    for same_seed in grouped(suite.all_runs, "replicate").values():
        _check_poolable(same_seed, OWN_KEYS)
    return suite


def _check_poolable(runs: Sequence[ArmRun], but: set[str]) -> None:
    """Refuse to compare runs that differ in any key except `but`.

    Raises:
        ConfigError: the message names the keys, the two values of each, and the folders.
    """
    one, *others = runs
    for other in others:
        keys = sorted((one.config.keys() | other.config.keys()) - but)
        values = {key: (one.config.get(key, "absent"), other.config.get(key, "absent")) for key in keys}
        differing = [f"{key} = {a} and {b}" for key, (a, b) in values.items() if a != b]
        if differing:
            raise ConfigError(
                f"{one.record} and {other.record}: cannot be pooled, because they differ in "
                f"{', '.join(differing)}; run one again or leave it out"
            )


def _runs_in(folder: Path) -> list[ArmRun]:
    """The run of a folder, or its repetitions `r0`, `r1`, ..."""
    repeats = sorted(path for path in folder.glob("r[0-9]*") if path.is_dir())
    return [ArmRun(path) for path in repeats or [folder]]
