"""Keys of offline behaviour cloning."""

from typing import Annotated

from pydantic import Field, model_validator

from remdm.config.base import Frames, PositiveFloat, Updates
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.ppo import ExpertInput
from remdm.config.training import ResumeConfig


class OfflineConfig(PlannerTrainingConfig):
    """Offline behaviour cloning, the stage `offline`."""

    expert: ExpertInput
    resume: ResumeConfig
    offline_total_timesteps: Frames | None = Field(
        description="budget in frames; null uses offline_num_updates"
    )
    offline_num_updates: Updates | None = Field(
        description="budget in updates, if offline_total_timesteps is null"
    )
    collect_temperature: PositiveFloat = Field(description="temperature of the expert's actions")
    return_weight_cap: Annotated[float, Field(ge=0.1, allow_inf_nan=False)] = Field(
        description="largest return weight of a window; the smallest is 0.1"
    )

    @model_validator(mode="after")
    def _budget(self) -> "OfflineConfig":
        self.check_warmup()
        self.resume.check(self)
        return self

    @property
    def budget_key(self) -> str:
        """The key that decides the number of updates."""
        return "offline_num_updates" if self.offline_total_timesteps is None else "offline_total_timesteps"

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        if self.offline_total_timesteps is not None:
            return self.updates_for(self.offline_total_timesteps)
        if self.offline_num_updates is None:
            raise ValueError("offline_total_timesteps = null: set it, or offline_num_updates")
        return self.offline_num_updates
