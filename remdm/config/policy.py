"""Keys of the policy that plays, and of how a planner plans."""

from typing import Literal

from pydantic import Field, model_validator

from remdm.config.base import DenoisingSteps, EnvSteps, NonNegativeFloat, path_key
from remdm.config.sampler import SamplerConfig
from remdm.config.stage import StageConfig


class PlayingConfig(StageConfig):
    """Playing from a checkpoint, and how a planner plans."""

    sampler: SamplerConfig
    checkpoint_path: str | None = path_key("the planner's or the expert's checkpoint")
    diffusion_steps_eval: DenoisingSteps = Field(description="denoising steps of a plan")
    replan_every: EnvSteps = Field(description="environment steps between plans")
    inpaint_history: bool = Field(
        description="lock the actions executed since the plan began; false starts afresh at each plan"
    )

    @model_validator(mode="after")
    def _steps(self) -> "PlayingConfig":
        self.sampler.check_steps("diffusion_steps_eval", self.diffusion_steps_eval)
        return self

    @classmethod
    def planning_keys(cls) -> set[str]:
        """The keys of how a planner plans."""
        return {*SamplerConfig.owners(), "diffusion_steps_eval", "replan_every", "inpaint_history"}


class PolicyConfig(PlayingConfig):
    """Policy."""

    policy: Literal["planner", "expert", "random"] = Field(description="the policy that plays")
    expert_temperature: NonNegativeFloat = Field(
        description="temperature of the expert's actions if it plays; 0 takes the most probable"
    )

    def unused(self) -> set[str]:
        """Keys of planners if another policy plays, and those of experts likewise."""
        keys = set() if self.policy == "planner" else self.planning_keys()
        return keys if self.policy == "expert" else keys | {"expert_temperature"}

    def inputs(self) -> dict[str, str | None]:
        """The checkpoint, which random play does not need."""
        return {} if self.policy == "random" else super().inputs()
