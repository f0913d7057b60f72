"""Keys of all trainings of planners, and the conversion of budgets in frames."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from remdm.config.base import (
    Count,
    DenoisingSteps,
    EnvSteps,
    Fraction,
    Frames,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    Unit,
    Updates,
)
from remdm.config.denoiser import DenoiserConfig
from remdm.config.sampler import SamplerConfig
from remdm.config.training import TrainingConfig

# Largest number of tokens in the network at once: on CPUs, their activations fit the caches; on GPUs, they
# keep all cores busy, and more would only need memory.
CPU_TOKENS = 4096
GPU_TOKENS = 65_536
Below1 = Annotated[float, Field(ge=0, lt=1)]
WarmupFrames = Annotated[Count, Unit("frames")]
GradSteps = Annotated[Count, Unit("gradient steps")]


class ValidationConfig(Section):
    """Validation: rollouts in training, which choose the best checkpoint."""

    val_interval_frames: Frames | None = Field(
        description="frames between validations; null uses val_interval"
    )
    val_interval: Updates = Field(description="updates between validations, if val_interval_frames is null")
    val_diffusion_steps: DenoisingSteps = Field(description="denoising steps of a plan in validation")
    val_replan_every: EnvSteps = Field(description="environment steps per plan in validation")
    val_steps: EnvSteps = Field(description="environment steps of a validation")
    val_num_envs: Positive = Field(description="parallel environments of a validation")


class PlannerUpdateConfig(TrainingConfig):
    """Updating a planner, by imitation or by reward."""

    sampler: SamplerConfig
    num_envs: Positive = Field(description="parallel environments")
    num_steps: EnvSteps = Field(description="environment steps per update")
    lr: PositiveFloat = Field(description="learning rate; in imitation its peak, a cosine takes it to 0.1")
    weight_decay: NonNegativeFloat = Field(description="decoupled weight decay; 0 is Adam")
    max_grad_norm: PositiveFloat = Field(description="global norm at which gradients are clipped")
    train_sigma: Below1 = Field(description="reduction of the loss weight for remasking; 0 is plain MDLM")
    label_smoothing: Below1 = Field(description="label smoothing; 0 is the exact bound")

    @property
    def frames_per_update(self) -> int:
        """Frames of one rollout."""
        return self.num_envs * self.num_steps


class PlannerTrainingConfig(PlannerUpdateConfig):
    """Training a planner by imitation, offline or online."""

    denoiser: DenoiserConfig
    validation: ValidationConfig
    num_minibatches: Positive = Field(description="minibatches per epoch")
    microbatch_size: Positive | None = Field(
        description="largest number of windows in the network at once; null suits the device: 4,096 tokens "
        "on CPUs, whose caches they fill, and 65,536 elsewhere"
    )
    update_epochs: Positive = Field(description="epochs per update")
    optimizer: Literal["adamw", "muon"] = Field(
        description="AdamW; or Muon for the hidden matrices, which needs fewer steps"
    )
    soft_labels: bool = Field(
        description="label with the distribution that the expert samples from; false: with the sampled action"
    )
    prefix_share: Fraction = Field(
        description="share of windows whose observation follows some of their actions, which are given and "
        "not predicted, as inpaint_history plays; their number is uniform"
    )
    lr_warmup_frames: WarmupFrames | None = Field(
        description="linear warm-up in frames; null uses lr_warmup_steps"
    )
    lr_warmup_steps: GradSteps = Field(
        description="linear warm-up in gradient steps, if lr_warmup_frames is null"
    )

    @model_validator(mode="after")
    def _windows_fit(self) -> "PlannerTrainingConfig":
        horizon, validation = self.denoiser.plan_horizon, self.validation
        if horizon > self.num_steps:
            raise ValueError(
                f"plan_horizon = {horizon}: a window must fit a rollout, at most num_steps = {self.num_steps}"
            )
        if self.num_minibatches > self.windows_per_update:
            raise ValueError(
                f"num_minibatches = {self.num_minibatches}: at most the {self.windows_per_update} windows "
                f"of an update, num_envs * (num_steps - plan_horizon + 1)"
            )
        if validation.val_replan_every > horizon:
            raise ValueError(
                f"val_replan_every = {validation.val_replan_every}: at most plan_horizon = {horizon}"
            )
        self.sampler.check_steps("val_diffusion_steps", validation.val_diffusion_steps)
        return self

    def on_device(self, platform: str) -> Self:
        """A copy in which `microbatch_size`, if null, has the value for the device."""
        if self.microbatch_size is not None:
            return self
        # On CPUs, activations that stay in the caches save a third of the time.
        tokens = CPU_TOKENS if platform == "cpu" else GPU_TOKENS
        return self.model_copy(update={"microbatch_size": max(1, tokens // self.denoiser.plan_horizon)})

    @property
    def windows_per_update(self) -> int:
        """Windows of one rollout, W * E with W = T - H + 1."""
        return self.num_envs * (self.num_steps - self.denoiser.plan_horizon + 1)

    @property
    def minibatch_size(self) -> int:
        """Windows in one gradient step; a remainder of an epoch's shuffled windows is left out."""
        return self.windows_per_update // self.num_minibatches

    @property
    def train_passes(self) -> int:
        """Passes over an update's epochs; DAgger may have more than one."""
        return 1

    @property
    def grad_steps_per_update(self) -> int:
        """Gradient steps of one update."""
        return self.train_passes * self.update_epochs * self.num_minibatches

    def updates_for(self, frames: int) -> int:
        """Updates in a budget of frames, at least one."""
        return max(1, frames // self.frames_per_update)

    @property
    def warmup_grad_steps(self) -> int:
        """Gradient steps of linear warm-up.

        The specification converts a budget of frames to updates although the schedule counts gradient steps;
        this converts to gradient steps.
        """
        if self.lr_warmup_frames is None:
            return self.lr_warmup_steps
        return self.lr_warmup_frames // self.frames_per_update * self.grad_steps_per_update

    @property
    def val_every(self) -> int:
        """Updates between validations."""
        if self.validation.val_interval_frames is None:
            return self.validation.val_interval
        return self.updates_for(self.validation.val_interval_frames)

    def check_warmup(self) -> None:
        """Refuse with a `ValueError` a warm-up that leaves no step at the full learning rate."""
        key = "lr_warmup_steps" if self.lr_warmup_frames is None else "lr_warmup_frames"
        total = self.num_updates * self.grad_steps_per_update
        if self.warmup_grad_steps >= total:
            raise ValueError(
                f"{key} = {getattr(self, key)}: {self.warmup_grad_steps} gradient steps of warm-up must be "
                f"fewer than the {total} that {self.budget_key} pays for"
            )
