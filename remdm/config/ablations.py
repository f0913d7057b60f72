"""Keys of the ablation suite: fine-tuning a planner by reward."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from remdm.base.errors import ConfigError, near
from remdm.config.arms import ARM_NAMES
from remdm.config.base import (
    DenoisingSteps,
    EnvSteps,
    NonNegativeFloat,
    Positive,
    Updates,
    Windows,
    path_key,
)
from remdm.config.planner import Below1, PlannerUpdateConfig


class AblationsConfig(PlannerUpdateConfig):
    """One arm of the ablation suite, the stage `ablations`.

    The network's keys are those of the checkpoint.
    """

    arm: str = Field(description="the arm; `remdm ablations --list` lists all")
    checkpoint_path: str | None = path_key("the planner's or the expert's checkpoint")
    return_weight_cap: Annotated[float, Field(ge=0.1, allow_inf_nan=False)] = Field(
        description="largest return weight of a window; the smallest is 0.1"
    )
    eval_steps: EnvSteps = Field(description="environment steps, of each environment")
    eval_num_envs: Positive = Field(description="parallel environments")
    val_diffusion_steps: DenoisingSteps = Field(description="denoising steps of a plan in validation")
    ablation_iterations: Updates = Field(description="updates of a run, of one gradient step each")
    ablation_batch_size: Windows = Field(
        description="windows in a gradient step, drawn from those of a rollout"
    )
    ablation_diffusion_steps: DenoisingSteps = Field(description="denoising steps of the plans of a rollout")
    ablation_ema_decay: Below1 = Field(description="decay of the moving average of the weights, which plays")
    ablation_eval_every: Updates = Field(description="updates between evaluations")
    ablation_eval_replan: EnvSteps = Field(description="environment steps per plan in an evaluation")
    ablation_diagnostics_every: Updates | None = Field(
        description="updates between diagnostics of gradients and drift; null switches them off"
    )
    ablation_cka_every: Updates | None = Field(
        description="updates between comparisons of representations (CKA); null switches them off"
    )
    ablation_cka_batch: Windows = Field(description="windows whose representations are compared")
    ablation_t_bins: Positive = Field(description="ranges of t whose gradients are compared")
    ablation_win_threshold: NonNegativeFloat = Field(description="return above which a window counts as won")
    ablation_replay_size: Windows = Field(
        description="windows of past batches that the arm mixed_replay keeps"
    )
    ablation_fisher_batches: Positive = Field(
        description="rollout batches from which the arm ewc takes its Fisher information"
    )
    ablation_reward_model_steps: Positive = Field(
        description="gradient steps per update of the arm reward_model's regression"
    )

    @field_validator("arm")
    @classmethod
    def _known(cls, arm: str) -> str:
        if arm not in ARM_NAMES:
            raise ValueError(f"no arm of that name{near(arm, ARM_NAMES)}")
        return arm

    @model_validator(mode="after")
    def _batches(self) -> "AblationsConfig":
        self.sampler.check_steps("val_diffusion_steps", self.val_diffusion_steps)
        self.sampler.check_steps("ablation_diffusion_steps", self.ablation_diffusion_steps)
        if self.ablation_cka_batch > self.ablation_batch_size:
            raise ValueError(
                f"ablation_cka_batch = {self.ablation_cka_batch}: "
                f"at most ablation_batch_size = {self.ablation_batch_size}"
            )
        if self.ablation_replay_size < self.ablation_batch_size:
            raise ValueError(
                f"ablation_replay_size = {self.ablation_replay_size}: must be at least "
                f"ablation_batch_size = {self.ablation_batch_size}, the windows of an update"
            )
        return self

    def check_fits(self, plan_horizon: int) -> None:
        """Refuse rollouts and batches that do not fit the plans of the planner that is fine-tuned.

        Raises:
            ConfigError: the message names the key.
        """
        if self.num_steps % plan_horizon:
            raise ConfigError(
                f"num_steps = {self.num_steps}: must be a multiple of the planner's "
                f"plan_horizon = {plan_horizon}"
            )
        if self.ablation_eval_replan > plan_horizon:
            raise ConfigError(
                f"ablation_eval_replan = {self.ablation_eval_replan}: "
                f"at most the planner's plan_horizon = {plan_horizon}"
            )
        windows = self.num_envs * (self.num_steps - plan_horizon + 1)
        if self.ablation_batch_size > windows:
            raise ConfigError(
                f"ablation_batch_size = {self.ablation_batch_size}: at most the {windows} windows of a "
                f"rollout, num_envs * (num_steps - plan_horizon + 1)"
            )

    def modules(self) -> tuple[str, ...]:
        """The module of the arm; those of other arms do not affect the result."""
        return (f"ablations/arms/{self.arm}",)

    def unused(self) -> set[str]:
        """Keys of other arms, and of diagnostics that are switched off."""
        own = {
            "ablation_replay_size": "mixed_replay",
            "ablation_fisher_batches": "ewc",
            "ablation_reward_model_steps": "reward_model",
        }
        unused = {key for key, arm in own.items() if arm != self.arm}
        if self.ablation_diagnostics_every is None:
            unused.add("ablation_t_bins")
        if self.ablation_cka_every is None:
            unused.add("ablation_cka_batch")
        return unused

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        return self.ablation_iterations

    @property
    def budget_key(self) -> str:
        """The key that decides the number of updates."""
        return "ablation_iterations"
