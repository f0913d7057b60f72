"""Keys of online DAgger."""

from typing import Annotated

from pydantic import Field, model_validator

from remdm.config.base import (
    DenoisingSteps,
    EnvSteps,
    Fraction,
    Frames,
    Positive,
    PositiveFloat,
    Unit,
    Updates,
    Windows,
    path_key,
)
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.ppo import ExpertInput
from remdm.config.training import ResumeConfig

Decay = Annotated[float, Field(gt=0, le=1)]
Cycles = Annotated[PositiveFloat, Unit("frames of an update")]


class DaggerConfig(PlannerTrainingConfig):
    """DAgger."""

    online_total_timesteps: Frames | None = Field(
        description="budget in frames; null uses online_num_updates"
    )
    online_num_updates: Updates = Field(description="budget in updates, if online_total_timesteps is null")
    diffusion_steps: DenoisingSteps = Field(description="denoising steps of the learner's plans in training")
    dagger_beta_init: Fraction = Field(description="probability of the expert's action at the first update")
    dagger_beta_final: Decay | None = Field(
        description="that probability at the end; null uses dagger_beta_decay"
    )
    dagger_beta_decay: Decay = Field(description="its factor per update, if dagger_beta_final is null")
    dagger_buffer_cycles: Cycles | None = Field(
        description="windows kept, in frames of an update, but no more than the run collects; "
        "null uses dagger_buffer_max"
    )
    dagger_buffer_max: Windows = Field(
        description="windows kept, but no more than the run collects, if dagger_buffer_cycles is null"
    )
    dagger_train_passes: Positive | None = Field(
        description="passes over update_epochs per update; null is 1, the gradient steps of offline BC"
    )
    dagger_replan_every: EnvSteps | None = Field(
        description="environment steps per plan of the learner; null is plan_horizon"
    )

    @model_validator(mode="after")
    def _dagger(self) -> "DaggerConfig":
        self.sampler.check_steps("diffusion_steps", self.diffusion_steps)
        if self.dagger_beta_final is not None and self.dagger_beta_final > self.dagger_beta_init:
            raise ValueError(
                f"dagger_beta_final = {self.dagger_beta_final}: "
                f"at most dagger_beta_init = {self.dagger_beta_init}"
            )
        if self.buffer_size < self.windows_per_update:
            key = "dagger_buffer_max" if self.dagger_buffer_cycles is None else "dagger_buffer_cycles"
            raise ValueError(
                f"{key} = {getattr(self, key)}: a buffer of {self.buffer_size} must hold the "
                f"{self.windows_per_update} windows of one update"
            )
        horizon = self.denoiser.plan_horizon
        if self.replan_every > horizon:
            raise ValueError(f"dagger_replan_every = {self.replan_every}: at most plan_horizon = {horizon}")
        if self.num_steps % self.replan_every:
            key = "plan_horizon" if self.dagger_replan_every is None else "dagger_replan_every"
            raise ValueError(f"{key} = {self.replan_every}: must divide num_steps = {self.num_steps}")
        self.check_warmup()
        return self

    @property
    def budget_key(self) -> str:
        """The key that decides the number of updates."""
        return "online_num_updates" if self.online_total_timesteps is None else "online_total_timesteps"

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        if self.online_total_timesteps is None:
            return self.online_num_updates
        return self.updates_for(self.online_total_timesteps)

    @property
    def train_passes(self) -> int:
        """Passes over an update's epochs."""
        return self.dagger_train_passes or 1

    @property
    def replan_every(self) -> int:
        """Environment steps per plan of the learner."""
        return self.dagger_replan_every or self.denoiser.plan_horizon

    @property
    def beta_decay(self) -> float:
        """Factor of beta per update: beta_i = beta_init * decay^i, so that beta_N = beta_final."""
        if self.dagger_beta_final is None:
            return self.dagger_beta_decay
        return float((self.dagger_beta_final / self.dagger_beta_init) ** (1 / self.num_updates))

    @property
    def buffer_size(self) -> int:
        """Windows in the replay buffer, at most all that the run collects."""
        if self.dagger_buffer_cycles is None:
            asked = self.dagger_buffer_max
        else:
            asked = round(self.dagger_buffer_cycles * self.frames_per_update)
        return min(asked, self.num_updates * self.windows_per_update)


class OnlineConfig(DaggerConfig):
    """DAgger with a trained expert, the stage `online`."""

    expert: ExpertInput
    resume: ResumeConfig
    dagger_expert_deterministic: bool = Field(description="label with the expert's argmax; false samples")
    offline_checkpoint_path: str | None = path_key(
        "checkpoint of a planner whose weights training starts from", needed=False
    )

    @model_validator(mode="after")
    def _one_start(self) -> "OnlineConfig":
        self.resume.check(self)
        if self.offline_checkpoint_path is not None and self.resume.resume_checkpoint_path is not None:
            raise ValueError(
                f"offline_checkpoint_path = {self.offline_checkpoint_path}: resume_checkpoint_path already "
                f"says where to start; drop one"
            )
        return self


class SmokeConfig(DaggerConfig):
    """DAgger with an expert that plays at random, the stage `smoke`."""
