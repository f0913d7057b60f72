"""`workflow_config.yaml`: which experiments the pipeline runs."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from remdm.config.base import ConfigError, Count
from remdm.config.env import EnvName
from remdm.config.layers import near
from remdm.config.reader import read_mapping

# An artifact of W&B, where a folder could be named. Entity and project may be left to its client's settings.
WANDB = "wandb:"
WANDB_FORM = f"{WANDB}entity/project/name:version"
_PART = r"\w[\w. -]*"
_ARTIFACT = re.compile(rf"{WANDB}(?:(?:{_PART}/)?{_PART}/)?{_PART}:[\w.-]+")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]


def is_well_formed(reference: str) -> bool:
    """Whether a reference to W&B, `wandb:` included, is of the form that can be fetched."""
    return _ARTIFACT.fullmatch(reference) is not None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PlannerEntry(_Model):
    """A planner: how it is trained, and with which preset."""

    method: Literal["offline", "online"] = Field(description="offline BC or online DAgger")
    preset: Name = Field(description="a file of configs/")
    warm_start: Name | None = Field(
        default=None, description="preset of the offline planner whose weights DAgger starts from"
    )

    @model_validator(mode="after")
    def _only_dagger_starts_warm(self) -> "PlannerEntry":
        if self.warm_start is not None and self.method != "online":
            raise ValueError(f"warm_start = {self.warm_start}: is for method: online alone")
        return self

    @property
    def name(self) -> str:
        """The name of its results."""
        return self.preset if self.warm_start is None else f"{self.preset}_from_{self.warm_start}"


class ExpertEntry(_Model):
    """Whom the planners learn from: `expert: ppo_rnn` is trained, `expert: {checkpoint: ...}` is there."""

    model: Literal["ppo", "ppo_rnn", "ppo_rnd"] | None = Field(
        default=None, description="the architecture of an expert that is trained"
    )
    checkpoint: str | None = Field(
        default=None, min_length=1, description="folder of a checkpoint, ours or a public one, or wandb:REF"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_a_word(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> "ExpertEntry":
        if (self.model is None) == (self.checkpoint is None):
            raise ValueError(
                "must be ppo, ppo_rnn or ppo_rnd, or {checkpoint: PATH}, or {checkpoint: wandb:REF}"
            )
        return self

    @property
    def name(self) -> str:
        """The name of its results."""
        return self.model or "expert"


class Scale(_Model):
    """One size of the whole experiment."""

    envs: list[EnvName] = Field(min_length=1, description="the games")
    expert: ExpertEntry = Field(description="the expert's architecture, or where its checkpoint is")
    preset: Name = Field(description="the preset of the expert, of collecting and of evaluation")
    planners: list[PlannerEntry] = Field(min_length=1, description="the planners compared")
    seeds: list[Count] = Field(min_length=1, description="independent repetitions of everything")
    overrides: dict[str, Any] = Field(description="keys laid over every preset")


class WorkflowConfig(_Model):
    """The whole file."""

    scale: str = Field(description="which of the scales to run")
    runtime: dict[str, Any] = Field(description="progress, caches and saves; makes nothing stale")
    scales: dict[str, Scale] = Field(min_length=1, description="the sizes by name")

    @property
    def chosen(self) -> Scale:
        """The scale that runs."""
        return self.scales[self.scale]


def load_workflow_config(path: Path, overrides: dict[str, Any]) -> WorkflowConfig:
    """Read `workflow_config.yaml`; `overrides` are those of `snakemake --config`.

    Raises:
        ConfigError: an unknown key, a wrong type, or a scale that is not defined.
    """
    data = {**read_mapping(path), **overrides}
    origin = "--config" if "scale" in overrides else str(path)
    try:
        config = WorkflowConfig(**data)
    except ValidationError as error:
        first = error.errors()[0]
        # Of `expert: ppo_rn`, the name of the field is not in the file.
        where = ".".join(str(part) for part in first["loc"]).removesuffix(".model")
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{path}: unknown key {where}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{path}: {where} is missing") from None
        wanted = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        if first["type"] == "value_error":  # a contradiction, which names its keys itself
            raise ConfigError(f"{path}: {where}: {wanted}") from None
        raise ConfigError(f"{path}: {where} = {first['input']!r}: {wanted}") from None
    if config.scale not in config.scales:
        raise ConfigError(
            f"{origin}: scale = {config.scale!r}: not among {', '.join(config.scales)}"
            f"{near(config.scale, config.scales)}"
        )
    return config
