"""`workflow_config.yaml`: the experiments that the pipeline runs."""

from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from remdm.base.errors import ConfigError, near, shown
from remdm.base.reader import parse_value, read_mapping
from remdm.config.arms import ARM_NAMES, ARMS, BASELINE, GROUPS
from remdm.config.base import PositiveFloat, Seed
from remdm.config.env import EnvName

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _CheckpointEntry(_Model):
    """A policy that is trained, or loaded from an existing checkpoint."""

    checkpoint: str | None = Field(
        default=None,
        min_length=1,
        description="folder of a checkpoint, ours or a public one, or wandb:REF or hf:REF",
    )
    label: Name | None = Field(default=None, description="distinguishes several checkpoints in results")
    env: EnvName | None = Field(
        default=None, description="the checkpoint's game; needed where the scale has several"
    )

    def check_one_of_two(self, trained: bool, forms: str) -> None:
        """Refuse an entry that is both trained and loaded, or neither."""
        if trained == (self.checkpoint is not None):
            raise ValueError(f"must be {forms}, or {{checkpoint: PATH}}; PATH may be wandb:REF or hf:REF")
        if self.checkpoint is None and (self.label or self.env):
            raise ValueError("label and env are only for a checkpoint")

    def named(self, kind: str) -> str:
        """The name of a checkpoint's results."""
        return "_".join(filter(None, (kind, self.label)))

    def plays(self, env: str) -> bool:
        """Whether it is for a game."""
        return self.env in (None, env)


class ExpertEntry(_CheckpointEntry):
    """An expert that teaches planners: `ppo_rnn` is trained here, `{checkpoint: ...}` is loaded."""

    model: Literal["ppo", "ppo_rnn", "ppo_rnd"] | None = Field(
        default=None, description="the architecture of an expert that is trained"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_a_word(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> "ExpertEntry":
        self.check_one_of_two(self.model is not None, "ppo, ppo_rnn or ppo_rnd")
        return self

    @property
    def name(self) -> str:
        """The name of its results."""
        return self.model or self.named("expert")


class PlannerEntry(_CheckpointEntry):
    """A planner: `{checkpoint: ...}` is loaded; others are trained with every expert of their games.

    An entry with a `grid` describes a planner for each combination of its values; in a `Scale`, each has its
    own entry, whose grid has one value of each key.
    """

    method: Literal["offline", "online"] | None = Field(
        default=None, description="offline BC or online DAgger"
    )
    preset: Name | None = Field(default=None, description="a file of configs/")
    warm_start: Name | None = Field(
        default=None, description="preset of the offline planner whose weights DAgger starts from"
    )
    envs: list[EnvName] | None = Field(
        default=None, min_length=1, description="the games it is for; null is all of the scale"
    )
    grid: dict[str, Annotated[list[bool | int | float | Name | None], Field(min_length=1)]] | None = Field(
        default=None, description="values of keys that override the preset: a planner for each combination"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> "PlannerEntry":
        given = [self.method, self.preset, self.warm_start, self.envs, self.grid]
        self.check_one_of_two(any(x is not None for x in given), "{method: offline or online, preset: NAME}")
        for key in ("method", "preset") if self.checkpoint is None else ():
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing")
        if self.warm_start is not None and self.method != "online":
            raise ValueError(f"warm_start = {self.warm_start}: is only for method: online")
        return self

    @property
    def name(self) -> str:
        """The name of its results."""
        if self.preset is None:
            return self.named("planner")
        start = () if self.warm_start is None else ("from", self.warm_start)
        keys = (part for key, value in self.overrides.items() for part in (key, written(value)))
        return "_".join((self.preset, *start, *keys))

    @property
    def overrides(self) -> dict[str, Any]:
        """The keys that override its preset, of an entry for one planner."""
        return {key: value for key, [value] in (self.grid or {}).items()}

    def expanded(self) -> "list[PlannerEntry]":
        """An entry for each combination of the grid's values."""
        if self.grid is None:
            return [self]
        combinations = product(*([[key, value] for value in values] for key, values in self.grid.items()))
        return [
            self.model_copy(update={"grid": {key: [value] for key, value in chosen}})
            for chosen in combinations
        ]

    def plays(self, env: str) -> bool:
        """Whether it is for a game."""
        return super().plays(env) and (self.envs is None or env in self.envs)


def written(value: Any) -> str:
    """A value as a part of a file's name."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value)


class AblationsEntry(_Model):
    """The ablation suite: which arms fine-tune which planner."""

    planner: str = Field(
        description="the planner from which the arms start, in its games: method-preset, or planner or "
        "planner_label of a loaded one"
    )
    preset: Name = Field(description="a file of configs/")
    arms: list[str] | None = Field(default=None, min_length=1, description="the arms; null uses groups")
    groups: list[str] | None = Field(default=None, min_length=1, description="groups of arms; null is all")

    @model_validator(mode="after")
    def _known(self) -> "AblationsEntry":
        if self.arms is not None and self.groups is not None:
            raise ValueError(f"groups = {self.groups}: arms already names the arms; drop one")
        for arm in self.arms or ():
            if arm not in ARM_NAMES:
                raise ValueError(f"arms: no arm is called {arm}{near(arm, ARM_NAMES)}")
        for group in self.groups or ():
            if group not in GROUPS:
                raise ValueError(f"groups: {group} is not among {', '.join(GROUPS)}")
        return self

    @property
    def names(self) -> list[str]:
        """The arms, including the baseline, with which the others are compared."""
        if self.arms is not None:
            return list(dict.fromkeys([BASELINE, *self.arms]))
        groups = self.groups or GROUPS
        return [entry.name for entry in ARMS if entry.name == BASELINE or entry.group in groups]


class Scale(_Model):
    """One size of the whole experiment: a matrix of games, experts, planners, evaluations and seeds."""

    envs: list[EnvName] = Field(min_length=1, description="the games")
    experts: list[ExpertEntry] = Field(min_length=1, description="architectures to train, or checkpoints")
    preset: Name = Field(description="the preset of the experts, of collecting and of evaluation")
    planners: list[PlannerEntry] = Field(min_length=1, description="the planners compared")
    evaluations: dict[Name, dict[str, Any]] = Field(
        description="further evaluations by name, each with keys that override playing"
    )
    seeds: list[Seed] = Field(min_length=1, description="seeds: independent repetitions of everything")
    ablations: list[AblationsEntry] = Field(description="ablation suites, at most one per game")
    overrides: dict[str, Any] = Field(description="keys that override every preset")
    playing: dict[str, Any] = Field(
        default={},
        description="keys of how policies play in evaluations, recordings and sweeps; these take precedence "
        "over overrides, and do not affect trainings",
    )
    sweep: bool = Field(default=False, description="whether sampler settings of the planners are compared")
    imitation: bool = Field(
        default=False, description="whether the planners' predictions are compared with their expert's"
    )
    expected_seconds: dict[str, PositiveFloat] = Field(
        default={},
        description="first estimate of a job's time on the whole machine, by rule; `other`: all other rules",
    )

    @field_validator("planners")
    @classmethod
    def _grids_expanded(cls, planners: list[PlannerEntry]) -> list[PlannerEntry]:
        return [planner for entry in planners for planner in entry.expanded()]


class WorkflowConfig(_Model):
    """The whole file."""

    scale: str = Field(description="the scale that runs")
    runtime: dict[str, Any] = Field(
        description="keys of progress, caches and saves; never make results stale"
    )
    scales: dict[str, Scale] = Field(min_length=1, description="the sizes by name")

    @property
    def chosen(self) -> Scale:
        """The scale that runs."""
        return self.scales[self.scale]


def load_workflow_config(path: Path, overrides: dict[str, Any]) -> WorkflowConfig:
    """Read `workflow_config.yaml`; `overrides` of `snakemake --config` replace entries and `runtime` keys.

    Raises:
        ConfigError: an unknown key, a wrong type, or a scale that is not defined.
    """
    data = read_mapping(path)
    runtimes = data.get("runtime"), overrides.get("runtime")
    if isinstance(runtimes[0], dict) and isinstance(runtimes[1], dict):
        # Snakemake turns values within braces into strings.
        given = {key: parse_value(x) if isinstance(x, str) else x for key, x in runtimes[1].items()}
        overrides = overrides | {"runtime": runtimes[0] | given}
    data |= overrides
    origin = "--config" if "scale" in overrides else str(path)
    try:
        config = WorkflowConfig(**data)
    except ValidationError as error:
        first = error.errors()[0]
        # For `experts: [ppo_rn]`, the name of the field is not in the file.
        where = ".".join(str(part) for part in first["loc"]).removesuffix(".model")
        if first["type"] == "extra_forbidden":
            known = {*WorkflowConfig.model_fields, *Scale.model_fields}
            near_names = near(where.rpartition(".")[2], known)
            raise ConfigError(f"{path}: unknown key {where}{near_names}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{path}: {where} is missing") from None
        wanted = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        if first["type"] == "value_error":  # a contradiction, whose message names its keys
            raise ConfigError(f"{path}: {where}: {wanted}") from None
        raise ConfigError(f"{path}: {where} = {shown(first['input'])}: {wanted}") from None
    if config.scale not in config.scales:
        raise ConfigError(
            f"{origin}: scale = {config.scale!r}: not among {', '.join(config.scales)}"
            f"{near(config.scale, config.scales)}"
        )
    return config
