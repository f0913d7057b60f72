"""The runs of the suite: what each left in its folder, and which of them are missing."""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from remdm.base.errors import ConfigError, UserError
from remdm.config.arms import ARMS, BASELINE

SCORE = "val/episode_return"
EVALUATED = "val/score"  # always there when there was an evaluation, even if no episode ended in it
ACHIEVEMENT = "val/achievement/"
LAYER_NORM, LAYER_COSINE, BIN_NORM = "diag/layer_grad_norm/", "diag/layer_cosine/", "diag/t_bin_grad_norm/"
ACTIONS = ("counts_before", "bigrams_before", "counts_after", "bigrams_after")

# Keys in which runs may differ and still be compared: which run it is, and how it came to be whole.
OWN_KEYS = {"arm", "seed", "num_repeats", "resume_checkpoint_path", "resume_step"}
# Each seed has a pretrained planner of its own, which all arms of that seed must start from.
SEED_KEYS = {"checkpoint_path"}


@dataclass(frozen=True)
class ArmRun:
    """One arm with one seed.

    Attributes:
        folder: what it measured.
        record: the folder of its `run.json`; another one where a job repeated the run.
    """

    folder: Path
    record: Path

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`."""
        run = _read(self.record / "run.json", lambda path: json.loads(path.read_text(encoding="utf-8")))
        for key in ("arm", "env_name", "seed"):
            if not isinstance(run, dict) or key not in run.get("config", {}):
                raise UserError(
                    f"{self.record / 'run.json'}: config.{key} is missing; {_remedy(self.record)}"
                )
        return dict(run)

    @property
    def config(self) -> dict[str, Any]:
        """All keys."""
        return dict(self.run["config"])

    @property
    def arm(self) -> str:
        """The name of the arm."""
        return str(self.config["arm"])

    @property
    def seed(self) -> str:
        """The seed, and which repetition of it."""
        own = "" if self.folder == self.record else f".{self.folder.name}"
        return f"{self.config['seed']}{own}"

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """`metrics.parquet`: a row for each update, null where nothing was measured."""
        table = _read(self.folder / "metrics.parquet", pl.read_parquet)
        if "update" not in table.columns or table.is_empty():
            raise UserError(f"{self.folder / 'metrics.parquet'}: has no updates; {_remedy(self.folder)}")
        return table.with_columns(pl.selectors.float().fill_nan(None)).sort("update")

    @cached_property
    def pretrained(self) -> dict[str, float | None]:
        """The evaluation of the pretrained weights on the same worlds."""
        table = _read(self.folder / "pretrained.parquet", pl.read_parquet)
        if table.height != 1:
            path = self.folder / "pretrained.parquet"
            raise UserError(f"{path}: has {table.height} rows, not 1; {_remedy(self.folder)}")
        return dict(table.with_columns(pl.selectors.float().fill_nan(None)).row(0, named=True))

    @cached_property
    def actions(self) -> dict[str, np.ndarray]:
        """Counts of actions [V] and of pairs of successive actions [V, V], before and after."""

        def read(path: Path) -> dict[str, np.ndarray]:
            with np.load(path) as arrays:
                return {name: arrays[name] for name in ACTIONS}

        return _read(self.folder / "actions.npz", read)

    @cached_property
    def evaluations(self) -> pl.DataFrame:
        """The rows of `metrics` with an evaluation."""
        if EVALUATED not in self.metrics.columns:
            return self.metrics.clear()
        return self.metrics.filter(pl.col(EVALUATED).is_not_null())

    @property
    def score(self) -> float | None:
        """The episode return of the last evaluation; None where no episode ended in it."""
        return self.final(SCORE)

    def final(self, name: str) -> float | None:
        """A metric of the last evaluation."""
        rows = self.evaluations
        return None if name not in rows.columns or rows.is_empty() else rows[name][-1]

    def values(self, name: str) -> np.ndarray:
        """All values of a metric in order, where it was measured: [N]."""
        if name not in self.metrics.columns:
            return np.array([])
        return self.metrics[name].drop_nulls().to_numpy()

    def curve(self, name: str) -> dict[int, float]:
        """A metric by update, at every update where it was due: NaN marks a missing evaluation."""
        rows = self.evaluations if name.startswith("val/") else self.metrics
        if name not in rows.columns:
            return {}
        if not name.startswith("val/"):
            rows = rows.filter(pl.col(name).is_not_null())
        values = rows[name].cast(pl.Float64).fill_null(np.nan).to_list()
        return dict(zip(rows["update"].to_list(), values, strict=True))


@dataclass(frozen=True)
class Suite:
    """The runs that are compared.

    Attributes:
        arms: those asked for, in the order of the registry.
        runs: of each of these, those that are there.
        missing: folders that were asked for and have no finished run.
    """

    arms: tuple[str, ...]
    runs: dict[str, list[ArmRun]]
    missing: tuple[Path, ...]

    @property
    def all_runs(self) -> list[ArmRun]:
        """Every run there is."""
        return [run for runs in self.runs.values() for run in runs]

    @property
    def config(self) -> dict[str, Any]:
        """The keys that all runs share."""
        return {k: v for k, v in self.all_runs[0].config.items() if k not in OWN_KEYS | SEED_KEYS}

    @property
    def env(self) -> str:
        """The game."""
        return str(self.config["env_name"])

    @property
    def baseline(self) -> list[ArmRun]:
        """The runs of the baseline; none if it is missing."""
        return self.runs.get(BASELINE, [])

    @property
    def seeds(self) -> list[str]:
        """All seeds, in the order they come."""
        return list(dict.fromkeys(run.seed for run in self.all_runs))

    def scores(self, arm: str) -> np.ndarray:
        """The scores of an arm's runs that have one: [N]."""
        return _known(run.score for run in self.runs.get(arm, []))

    @property
    def pretrained_scores(self) -> np.ndarray:
        """The pretrained planner's score for each seed that has one, arms of a seed averaged: [N]."""
        return self.pretrained(SCORE)

    def pretrained(self, name: str) -> np.ndarray:
        """A metric of the pretrained planner for each seed that has one: [N]."""
        seeds: dict[str, list[float]] = {}
        for run in self.all_runs:
            value = run.pretrained.get(name)
            if value is not None:
                seeds.setdefault(run.seed, []).append(value)
        return np.array([np.mean(values) for values in seeds.values()])

    def columns(self, prefix: str) -> list[str]:
        """What stands behind a prefix of metrics in any run, in the order it comes."""
        names = (name for run in self.all_runs for name in run.metrics.columns if name.startswith(prefix))
        return [name.removeprefix(prefix) for name in dict.fromkeys(names)]

    def average(self, arm: str, name: str, of: Callable[[np.ndarray], float] = np.mean) -> float | None:
        """A summary of a metric over training, averaged over an arm's runs; None if never measured."""
        values = [of(found) for run in self.runs.get(arm, []) if (found := run.values(name)).size]
        return float(np.mean(values)) if values else None


def read_suite(folders: Sequence[str]) -> Suite:
    """The runs in folders `.../<arm>/s<seed>`; a folder without a finished run is a missing one.

    Raises:
        UserError: an unknown arm, one run twice, no run at all, or a file that cannot be read.
        ConfigError: keys that decide results differ between runs.
    """
    runs: dict[str, list[ArmRun]] = {}
    asked: set[str] = set()
    missing = []
    for folder in dict.fromkeys(map(Path, folders)):
        if not (folder / "run.json").is_file():
            missing.append(folder)
            asked.add(folder.parent.name)
            continue
        for run in _runs_in(folder):
            twin = next((other for other in runs.get(run.arm, []) if other.seed == run.seed), None)
            if twin is not None:
                raise UserError(
                    f"{twin.folder} and {run.folder}: are both {run.arm}, seed {run.seed}; drop one"
                )
            runs.setdefault(run.arm, []).append(run)
            asked.add(run.arm)
    names = [entry.name for entry in ARMS]
    for arm in asked:
        if arm not in names:
            raise UserError(f"arm = {arm}: is none of {', '.join(names)}")
    if not runs:
        raise UserError(
            f"{folders[0] if folders else 'no folder'}: no finished run; run `remdm ablations` first"
        )
    ordered = {arm: runs[arm] for arm in names if arm in runs}
    suite = Suite(tuple(arm for arm in names if arm in asked), ordered, tuple(missing))
    check_poolable(suite.all_runs)
    return suite


def check_poolable(runs: Sequence[ArmRun]) -> None:
    """Refuse to compare runs of which keys that decide results differ.

    Raises:
        ConfigError: it names the keys, the two values of each, and the folders.
    """
    firsts: dict[str, ArmRun] = {}
    for run in runs:
        _check_agree(runs[0], run, OWN_KEYS | SEED_KEYS)
        _check_agree(firsts.setdefault(run.seed, run), run, OWN_KEYS)


def _check_agree(one: ArmRun, other: ArmRun, but: set[str]) -> None:
    keys = sorted((one.config.keys() | other.config.keys()) - but)
    absent = "absent"
    values = {key: (one.config.get(key, absent), other.config.get(key, absent)) for key in keys}
    differing = [f"{key} = {a} and {b}" for key, (a, b) in values.items() if a != b]
    if differing:
        raise ConfigError(
            f"{one.record} and {other.record}: cannot be pooled, for they differ in {', '.join(differing)}; "
            f"run one again or leave it out"
        )


def _runs_in(folder: Path) -> list[ArmRun]:
    """The run of a folder, or the repetitions of it, `r0`, `r1`, ..."""
    repeats = sorted(path for path in folder.glob("r[0-9]*") if path.is_dir())
    return [ArmRun(path, folder) for path in repeats] or [ArmRun(folder, folder)]


def _known(values: Any) -> np.ndarray:
    return np.array([value for value in values if value is not None], float)


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    """What a file holds.

    Raises:
        UserError: one line that names the file and the way out.
    """
    try:
        return reader(path)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; {_remedy(path.parent)}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read ({reason}); {_remedy(path.parent)}") from None


def _remedy(folder: Path) -> str:
    return f"delete {folder} and run this arm and seed again"
