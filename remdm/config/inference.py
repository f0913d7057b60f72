"""Keys of evaluation."""

from typing import Literal

from pydantic import Field, model_validator

from remdm.config.base import DenoisingSteps, EnvSteps, Positive, StageConfig, path_key
from remdm.config.env import EnvConfig
from remdm.config.sampler import SamplerConfig


class InferenceConfig(StageConfig, EnvConfig, SamplerConfig):
    """Evaluation, the stage `inference`."""

    policy: Literal["planner", "expert", "random"] = Field(description="who plays")
    checkpoint_path: str | None = path_key("the planner's or the expert's checkpoint")
    eval_steps: EnvSteps = Field(description="environment steps, of each environment")
    eval_num_envs: Positive = Field(description="parallel environments")
    diffusion_steps_eval: DenoisingSteps = Field(description="denoising steps of a plan")
    replan_every: EnvSteps = Field(description="environment steps between plans")
    inpaint_history: bool = Field(
        description="lock the actions executed since the plan began; false starts afresh at each plan"
    )

    @model_validator(mode="after")
    def _steps(self) -> "InferenceConfig":
        self.check_steps("diffusion_steps_eval", self.diffusion_steps_eval)
        return self

    def unused(self) -> set[str]:
        """Only a planner denoises and replans."""
        planning = {*SamplerConfig.model_fields, "diffusion_steps_eval", "replan_every", "inpaint_history"}
        return set() if self.policy == "planner" else planning

    def inputs(self) -> dict[str, str | None]:
        """Random play needs no checkpoint."""
        return {} if self.policy == "random" else super().inputs()
