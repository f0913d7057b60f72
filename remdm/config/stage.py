"""The common configuration of all stages: game, seed, inputs, and the keys that determine the result."""

import secrets
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from remdm.base.machine import num_processes
from remdm.config.base import LARGEST_SEED, Section, Seed
from remdm.config.env import GameConfig


def _drawn(value: Any) -> Any:
    """Draw a seed if none is given."""
    if value is None and num_processes() > 1:
        raise ValueError("must be given where several processes share a run, because each would draw another")
    return secrets.randbits(31) if value is None else value


GivenSeed = Annotated[
    Seed,
    BeforeValidator(_drawn),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": LARGEST_SEED}, {"type": "null"}]}),
]


class StageConfig(Section):
    """Every stage."""

    env: GameConfig
    seed: GivenSeed = Field(description="seed of every random draw; null draws one, and the run records it")

    @classmethod
    def path_keys(cls, *kinds: str) -> set[str]:
        """The keys whose values are paths, of the given kinds or of all."""
        fields = {key: owner.model_fields[key].json_schema_extra for key, owner in cls.owners().items()}
        return {
            key
            for key, extra in fields.items()
            if isinstance(extra, dict) and (kind := extra.get("path")) and (not kinds or kind in kinds)
        }

    def inputs(self) -> dict[str, str | None]:
        """The paths of all needed inputs, and of optional inputs that are named, by key."""
        paths = self.flat()
        needed = {key: paths[key] for key in sorted(self.path_keys("needed input"))}
        optional = {key: paths[key] for key in sorted(self.path_keys("optional input"))}
        return needed | {key: path for key, path in optional.items() if path is not None}

    def modules(self) -> tuple[str, ...]:
        """Modules such as `package/module` that a run loads by name, in addition to its imports."""
        return ()

    def unused(self) -> set[str]:
        """Keys that have no effect, given the others."""
        return set()

    def recorded(self) -> dict[str, Any]:
        """The keys that determine the result: all except paths and those without effect."""
        left_out = self.path_keys() | self.unused()
        return {key: value for key, value in self.flat().items() if key not in left_out}
