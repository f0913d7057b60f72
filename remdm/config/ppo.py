"""Keys of the expert and of its training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from remdm.config.base import (
    EnvSteps,
    Fraction,
    Frames,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    path_key,
)
from remdm.config.env import EnvConfig
from remdm.config.training import ResumableConfig

Discount = Annotated[float, Field(gt=0, le=1)]


class ExpertConfig(Section):
    """The expert's network: what its checkpoint needs to be rebuilt."""

    ppo_model_type: Literal["ppo_rnn"] = Field(description="the expert's architecture")
    layer_size: Positive = Field(description="width of the expert's hidden layers")


class ExpertInput(Section):
    """The expert that a stage learns from or plays."""

    ppo_checkpoint_path: str | None = path_key("the expert's checkpoint")


class PPOConfig(ResumableConfig, EnvConfig, ExpertConfig):
    """PPO, the stage `ppo`."""

    ppo_total_timesteps: Frames = Field(description="budget in frames")
    ppo_num_envs: Positive = Field(description="parallel environments")
    ppo_num_steps: EnvSteps = Field(description="environment steps per update")
    ppo_lr: PositiveFloat = Field(description="learning rate, annealed linearly to 0")
    ppo_update_epochs: Positive = Field(description="passes over each rollout")
    ppo_num_minibatches: Positive = Field(description="minibatches per pass, each of whole environments")
    ppo_gamma: Discount = Field(description="discount")
    ppo_gae_lambda: Fraction = Field(description="lambda of generalised advantage estimation")
    ppo_clip_eps: PositiveFloat = Field(description="clipping range of ratio and value")
    ppo_ent_coef: NonNegativeFloat = Field(description="weight of the entropy bonus")
    ppo_vf_coef: NonNegativeFloat = Field(description="weight of the value loss")
    ppo_max_grad_norm: PositiveFloat = Field(description="global norm at which gradients are clipped")

    @model_validator(mode="after")
    def _minibatches_divide(self) -> "PPOConfig":
        if self.ppo_num_envs % self.ppo_num_minibatches:
            raise ValueError(
                f"ppo_num_minibatches = {self.ppo_num_minibatches}: "
                f"must divide ppo_num_envs = {self.ppo_num_envs}"
            )
        return self

    @property
    def frames_per_update(self) -> int:
        """Frames of one rollout."""
        return self.ppo_num_envs * self.ppo_num_steps

    @property
    def num_updates(self) -> int:
        """Updates in the budget, at least one."""
        return max(1, self.ppo_total_timesteps // self.frames_per_update)

    @property
    def budget_key(self) -> str:
        """The key that decides the number of updates."""
        return "ppo_total_timesteps"
