"""What every configuration model shares: strictness, number types and the seed."""

import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from remdm.base.machine import num_processes


def _whole(value: Any) -> Any:
    """Let an integer key be written as `1e6`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _drawn(value: Any) -> Any:
    """A seed where none is given."""
    if value is None and num_processes() > 1:
        raise ValueError("must be given where several processes share a run, for each would draw another")
    return secrets.randbits(31) if value is None else value


@dataclass(frozen=True)
class Unit:
    """What a key's number counts; stands in the annotation of its type, and from there in every reference."""

    name: str


Positive = Annotated[int, Field(gt=0), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[
    Count,
    BeforeValidator(_drawn),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}),
]
Fraction = Annotated[float, Field(ge=0, le=1)]

Frames = Annotated[Positive, Unit("frames")]
Updates = Annotated[Positive, Unit("updates")]
EnvSteps = Annotated[Positive, Unit("steps of each environment")]
DenoisingSteps = Annotated[Positive, Unit("denoising steps")]
Windows = Annotated[Positive, Unit("windows")]
Minutes = Annotated[PositiveFloat, Unit("minutes")]


def path_key(description: str, *, needed: bool = True, output: bool = False) -> Any:
    """A key that says where an input lies, or where an output goes.

    What lies there decides whether a stage is stale, not where, so such keys stay out of the
    stage's digest.

    Args:
        needed: whether the stage cannot run without it.
        output: whether the stage writes there.
    """
    kind = "output" if output else "needed input" if needed else "optional input"
    return Field(description=description, json_schema_extra={"path": kind})


class Section(BaseModel):
    """A frozen group of flat keys. Values come from `configs/defaults.yaml`, never from here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StageConfig(Section):
    """Every stage."""

    seed: Seed = Field(description="seed of every random draw; null draws one, and the run records it")

    @classmethod
    def path_keys(cls, *kinds: str) -> set[str]:
        """The keys that hold paths, of some kinds or of all."""
        return {
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict)
            and (kind := field.json_schema_extra.get("path"))
            and (not kinds or kind in kinds)
        }

    def inputs(self) -> dict[str, str | None]:
        """The paths of the inputs that this configuration needs or names, by key."""
        needed = {key: getattr(self, key) for key in sorted(self.path_keys("needed input"))}
        optional = {key: getattr(self, key) for key in sorted(self.path_keys("optional input"))}
        return needed | {key: path for key, path in optional.items() if path is not None}

    def modules(self) -> tuple[str, ...]:
        """Modules of the package, such as `room/noun`, that a run loads by name beside what it imports."""
        return ()

    def unused(self) -> set[str]:
        """Keys that are of no account, given the others."""
        return set()

    def recorded(self) -> dict[str, Any]:
        """The keys that decide the result: all but paths and those of no account."""
        return self.model_dump(exclude=self.path_keys() | self.unused())
