"""How a run is watched and placed: nothing here changes a result or makes one stale."""

from pydantic import Field

from remdm.config.base import Positive, PositiveFloat, Section


class RuntimeConfig(Section):
    """Keys beside those of the stage."""

    progress: bool = Field(description="show progress")
    chunk_updates: Positive = Field(description="updates per compiled call, after which progress is shown")
    checkpoint_every_minutes: PositiveFloat = Field(description="time between saves of the whole state")
    compilation_cache_dir: str | None = Field(description="XLA's persistent cache; null switches it off")
