"""A record for each stage, from which the command, folders, rules and figures are derived."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from remdm.config.ablations import AblationsConfig
from remdm.config.collect import CollectConfig
from remdm.config.film import FilmConfig
from remdm.config.imitation import ImitationConfig
from remdm.config.inference import InferenceConfig
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig, SmokeConfig
from remdm.config.policy import PlayingConfig
from remdm.config.ppo import PPOConfig
from remdm.config.runtime import RuntimeConfig, TrainingRuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.sweep import SweepConfig
from remdm.config.training import TrainingConfig


class Picture(NamedTuple):
    """A picture of every run of a stage; the module of `analysis/` that draws it has the same name.

    Attributes:
        of_planners: whether it is drawn only for planners.
        beside_expert: whether it also shows the expert's run.
        stem: name of its file without suffix; the picture's name if empty.
    """

    name: str
    category: str
    suffix: str = ".png"
    of_planners: bool = False
    beside_expert: bool = False
    stem: str = ""

    @property
    def output(self) -> str:
        """Its file in the run's folder, without the suffix."""
        return self.stem or self.name

    @property
    def file(self) -> str:
        """Its file in the run's folder."""
        return self.output + self.suffix


CURVES = Picture("curves", "Training")


@dataclass(frozen=True)
class Stage:
    """The record of a stage; `run_<name>` of `stages/<name>.py` runs it.

    Attributes:
        summary: description for the command's help.
        outputs: files and folders (without suffix) that a run writes in addition to `run.json`.
        shown: the outputs from which figures and tables are made.
        named_by: the key whose value names the folder of a call; None if the preset does.
        mem_mb: memory of a job on one machine.
        priority: priority of its jobs; those of higher priority start first.
        in_pipeline: whether the pipeline has such jobs.
    """

    model: type[StageConfig]
    summary: str
    outputs: tuple[str, ...]
    shown: tuple[str, ...] = ("metrics.parquet",)
    pictures: tuple[Picture, ...] = (CURVES,)
    named_by: str | None = None
    mem_mb: int = 3000
    priority: int = 0
    in_pipeline: bool = True

    @property
    def plays(self) -> bool:
        """Whether a trained policy plays in it."""
        return issubclass(self.model, PlayingConfig)

    @property
    def trains(self) -> bool:
        """Whether it trains a policy."""
        return issubclass(self.model, TrainingConfig)

    @property
    def runtime(self) -> type[RuntimeConfig]:
        """The model of its runtime keys."""
        return TrainingRuntimeConfig if self.trains else RuntimeConfig

    @property
    def keys(self) -> list[str]:
        """All keys that it accepts."""
        return [*self.model.owners(), *self.runtime.owners()]

    def paths(self, folder: str) -> dict[str, str]:
        """The paths of all outputs in a folder, by their names in the rule."""
        found = {Path(name).stem: f"{folder}/{name}" for name in self.outputs}
        return found | {"run": f"{folder}/run.json"}


TRAINED = ("checkpoint", "checkpoint_best", "metrics.parquet")
STAGES: Mapping[str, Stage] = {
    "ppo": Stage(PPOConfig, "train the expert", ("checkpoint", "metrics.parquet"), named_by="ppo_model_type"),
    "collect": Stage(
        CollectConfig, "save expert trajectories to disk", ("trajectories.npz", "metrics.parquet")
    ),
    "offline": Stage(
        OfflineConfig,
        "train a planner by behaviour cloning of an expert",
        TRAINED,
        mem_mb=6000,
        priority=1,  # the longest first
    ),
    "online": Stage(
        OnlineConfig, "train a planner by DAgger with an expert", TRAINED, mem_mb=6000, priority=1
    ),
    "inference": Stage(
        InferenceConfig,
        "evaluate a planner, an expert or random play",
        ("episodes.parquet", "summary.json"),
        shown=("summary.json", "episodes.parquet"),
        pictures=(Picture("unlocked", "Evaluation"),),
        named_by="policy",
    ),
    "film": Stage(
        FilmConfig,
        "record an episode of a planner, an expert or random play",
        ("film.npz",),
        shown=("film.npz",),
        pictures=(
            Picture("episode", "Films", ".gif"),
            Picture("path", "Films"),
            Picture("unlocks", "Films", beside_expert=True),
            Picture("denoising", "Films", of_planners=True),
            # The GIF's record is `episode.run.json`, so that of this page is `episode.html.run.json`.
            Picture("viewer", "Films", "", beside_expert=True, stem="episode.html"),
        ),
        named_by="policy",
    ),
    "sweep": Stage(
        SweepConfig,
        "compare sampler settings of a planner on windows of its expert",
        ("sweep.parquet",),
        shown=("sweep.parquet",),
        pictures=(Picture("heatmap", "Evaluation"),),
        mem_mb=4000,
    ),
    "imitation": Stage(
        ImitationConfig,
        "measure how well a planner predicts its expert in the states of both",
        ("imitation.parquet",),
        shown=("imitation.parquet",),
        pictures=(Picture("predictions", "Evaluation"),),
        mem_mb=4000,
    ),
    "smoke": Stage(
        SmokeConfig,
        "run all of DAgger at its smallest, with an expert that plays at random",
        TRAINED,
        in_pipeline=False,
    ),
    "ablations": Stage(
        AblationsConfig,
        "study why fine-tuning a planner by reward collapses: one arm, a group, or all",
        (*TRAINED, "pretrained.parquet", "evaluation.npz"),
        named_by="arm",
        mem_mb=4000,
        priority=1,  # the suite's report waits for all of them
    ),
}
