"""The common base of configuration models: strictness, flat keys and number types."""

from dataclasses import dataclass
from functools import cache
from inspect import isclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _whole(value: Any) -> Any:
    """Accept `1e6` for an integer key."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _exact(value: int) -> int:
    """Refuse integers that numpy would convert to a rounded float in shapes."""
    if value > 2**53:
        raise ValueError("should be at most 2**53")
    return value


@dataclass(frozen=True)
class Unit:
    """The unit of a key's number, in the annotation of its type; the reference of keys shows it."""

    name: str


LARGEST_SEED = 2**32 - 1  # JAX uses only the last 32 bits of larger ones
WIDEST = 2**16  # largest width of a network, also of one in an untrusted checkpoint

Positive = Annotated[int, Field(gt=0), BeforeValidator(_whole), AfterValidator(_exact)]
Count = Annotated[int, Field(ge=0), BeforeValidator(_whole), AfterValidator(_exact)]
Width = Annotated[int, Field(gt=0, le=WIDEST), BeforeValidator(_whole)]
Layers = Annotated[int, Field(gt=0, le=128), BeforeValidator(_whole)]
Horizon = Annotated[int, Field(gt=0, le=10_000), BeforeValidator(_whole)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED), BeforeValidator(_whole)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]

Frames = Annotated[Positive, Unit("frames")]
Updates = Annotated[Positive, Unit("updates")]
EnvSteps = Annotated[Positive, Unit("steps of each environment")]
DenoisingSteps = Annotated[Positive, Unit("denoising steps")]
Windows = Annotated[Positive, Unit("windows")]
Minutes = Annotated[PositiveFloat, Unit("minutes")]


def path_key(description: str, *, needed: bool = True, output: bool = False) -> Any:
    """A key whose value is the path of an input or an output.

    The content of an input decides whether a stage is stale, not its path, so such keys are excluded from the
    stage's digest.

    Args:
        needed: whether the stage requires the input.
        output: whether the path is that of an output.
    """
    kind = "output" if output else "needed input" if needed else "optional input"
    return Field(description=description, json_schema_extra={"path": kind})


class Section(BaseModel):
    """A frozen group of keys. Defaults are in `configs/defaults.yaml`, not here.

    Files and flags are flat: a field whose type is a section receives the given keys that belong to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _grouped(cls, given: dict[str, Any]) -> dict[str, Any]:
        parts = {name: part.owners() for name, part in cls.sections().items() if name not in given}
        of_parts = {key for keys in parts.values() for key in keys}
        own = {key: value for key, value in given.items() if key not in of_parts}
        return own | {name: {key: given[key] for key in keys if key in given} for name, keys in parts.items()}

    @classmethod
    @cache
    def sections(cls) -> "dict[str, type[Section]]":
        """The types of the fields that are sections, by field."""
        types = {name: field.annotation for name, field in cls.model_fields.items()}
        return {name: part for name, part in types.items() if isclass(part) and issubclass(part, Section)}

    @classmethod
    @cache
    def owners(cls) -> "dict[str, type[Section]]":
        """All keys, including those of its sections, each with the model that defines it."""
        found: dict[str, type[Section]] = {}
        parts = cls.sections()
        for name in cls.model_fields:
            found |= parts[name].owners() if name in parts else {name: cls}
        return found

    def flat(self) -> dict[str, Any]:
        """All keys and their values."""
        found: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            found |= value.flat() if isinstance(value, Section) else {name: value}
        return found

    def updated(self, **given: Any) -> Self:
        """A copy with other values of some keys, also those of its sections, without validation."""
        parts = {
            name: getattr(self, name).updated(**own)
            for name, part in self.sections().items()
            if (own := {key: value for key, value in given.items() if key in part.owners()})
        }
        own = {key: value for key, value in given.items() if key in type(self).model_fields}
        return self.model_copy(update=parts | own)
