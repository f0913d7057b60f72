"""What every configuration model shares: strictness, number types and the seed."""

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class UserError(Exception):
    """Something the user can put right; the message is one line and the exit status is 2."""


class ConfigError(UserError):
    """A configuration that cannot be run: names the key, its value, its origin and what is right."""


def _whole(value: Any) -> Any:
    """Let an integer key be written as `1e6`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Int = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[Int, Field(gt=0)]
Count = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[Count, BeforeValidator(lambda value: secrets.randbits(31) if value is None else value)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def path_key(description: str) -> Any:
    """A key that says where an input lies.

    What lies there decides whether a stage is stale, not where, so such keys stay out of the
    stage's digest.
    """
    return Field(description=description, json_schema_extra={"input": True})


class Section(BaseModel):
    """A frozen group of flat keys. Values come from `configs/defaults.yaml`, never from here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StageConfig(Section):
    """What every stage has."""

    seed: Seed = Field(description="seed of every random draw; null draws one, and the run records it")

    @classmethod
    def input_keys(cls) -> set[str]:
        """The keys that say where an input lies."""
        return {
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("input")
        }

    def inputs(self) -> dict[str, str | None]:
        """The paths of the inputs that this configuration needs, by key."""
        return {key: getattr(self, key) for key in self.input_keys()}

    def recorded(self) -> dict[str, Any]:
        """The keys that decide the result: all but the paths of inputs."""
        return self.model_dump(exclude=self.input_keys())
