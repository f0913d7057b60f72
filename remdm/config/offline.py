"""Keys of offline behaviour cloning."""

from typing import Annotated

from pydantic import Field, model_validator

from remdm.config.base import Positive, PositiveFloat
from remdm.config.planner import PlannerTrainingConfig


class OfflineConfig(PlannerTrainingConfig):
    """The stage `offline`."""

    offline_total_timesteps: Positive | None = Field(
        description="budget in frames; null leaves it to offline_num_updates"
    )
    offline_num_updates: Positive | None = Field(
        description="budget in updates, if offline_total_timesteps is null"
    )
    collect_temperature: PositiveFloat = Field(description="temperature of the expert's actions")
    return_weight_cap: Annotated[float, Field(ge=0.1)] = Field(
        description="largest return weight of a window; the smallest is 0.1"
    )

    @model_validator(mode="after")
    def _budget(self) -> "OfflineConfig":
        if self.offline_total_timesteps is None and self.offline_num_updates is None:
            raise ValueError("offline_total_timesteps = null: set it, or offline_num_updates")
        self.check_warmup(
            "offline_num_updates" if self.offline_total_timesteps is None else "offline_total_timesteps"
        )
        return self

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        if self.offline_total_timesteps is None:
            assert self.offline_num_updates is not None
            return self.offline_num_updates
        return self.updates_for(self.offline_total_timesteps)
