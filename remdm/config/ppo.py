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
    Width,
    path_key,
)
from remdm.config.training import ResumeConfig, TrainingConfig

Discount = Annotated[float, Field(gt=0, le=1)]


class ExpertConfig(Section):
    """The expert's network: the keys from which its checkpoint is rebuilt."""

    ppo_model_type: Literal["ppo", "ppo_rnn", "ppo_rnd"] = Field(
        description="the expert's architecture: feed-forward, recurrent, or with a critic of novelty (RND)"
    )
    layer_size: Width = Field(description="width of the expert's hidden layers")


class ExpertInput(Section):
    """The expert that a stage learns from or plays."""

    ppo_checkpoint_path: str | None = path_key("the expert's checkpoint")

    @property
    def named_path(self) -> tuple[str, str | None]:
        """The key and its value, as `load_expert` takes them."""
        return "ppo_checkpoint_path", self.ppo_checkpoint_path


class RNDConfig(Section):
    """Random network distillation, the exploration of `ppo_model_type: ppo_rnd`."""

    rnd_layer_size: Positive = Field(description="width of the hidden layers of target and predictor")
    rnd_output_size: Positive = Field(description="width of the outputs of target and predictor")
    rnd_lr: PositiveFloat = Field(description="learning rate of the predictor")
    rnd_update_epochs: Positive = Field(description="passes of the predictor over each rollout")
    rnd_loss_coef: PositiveFloat = Field(description="weight of the prediction error as a loss")
    rnd_reward_coef: NonNegativeFloat = Field(description="weight of the prediction error as a reward")
    rnd_gae_coef: NonNegativeFloat = Field(
        description="weight of the intrinsic advantage, added to the extrinsic one"
    )
    rnd_episodic: bool = Field(description="whether intrinsic returns end with the episode")


class ICMConfig(Section):
    """Intrinsic curiosity: its latents, and the rewards computed from them."""

    icm_layer_size: Positive = Field(description="width of the hidden layers of ICM's networks")
    icm_latent_size: Positive = Field(description="width of the latents that ICM encodes observations as")
    icm_lr: PositiveFloat = Field(description="learning rate of ICM's networks")
    icm_update_epochs: Positive = Field(description="passes of ICM's networks over each rollout")
    icm_forward_coef: PositiveFloat = Field(description="weight of the loss of the forward model")
    icm_inverse_coef: PositiveFloat = Field(description="weight of the loss of the inverse model")
    icm_reward_coef: NonNegativeFloat = Field(description="weight of the forward model's error as a reward")
    e3b_lambda: PositiveFloat = Field(description="ridge of E3B's covariance at the start of an episode")
    e3b_reward_coef: NonNegativeFloat = Field(description="weight of E3B's elliptical bonus as a reward")


class PPOConfig(TrainingConfig):
    """PPO, the stage `ppo`."""

    network: ExpertConfig
    rnd: RNDConfig
    icm: ICMConfig
    resume: ResumeConfig
    ppo_total_timesteps: Frames = Field(description="budget in frames")
    ppo_num_envs: Positive = Field(description="parallel environments")
    ppo_num_steps: EnvSteps = Field(description="environment steps per update")
    ppo_lr: PositiveFloat = Field(description="learning rate, annealed linearly to 0")
    ppo_update_epochs: Positive = Field(description="passes over each rollout")
    ppo_num_minibatches: Positive = Field(
        description="minibatches per pass: of whole environments for ppo_rnn, otherwise of single steps"
    )
    ppo_gamma: Discount = Field(description="discount")
    ppo_gae_lambda: Fraction = Field(description="lambda of generalised advantage estimation")
    ppo_clip_eps: PositiveFloat = Field(description="clipping range of ratio and value")
    ppo_ent_coef: NonNegativeFloat = Field(description="weight of the entropy bonus")
    ppo_vf_coef: NonNegativeFloat = Field(description="weight of the value loss")
    ppo_max_grad_norm: PositiveFloat = Field(description="global norm at which gradients are clipped")
    ppo_exploration: Literal["none", "icm", "e3b"] = Field(
        description="reward added to the game's: none, the error of ICM's forward model, "
        "or E3B's bonus on ICM's latents"
    )

    @model_validator(mode="after")
    def _fits(self) -> "PPOConfig":
        name, count = "ppo_num_envs * ppo_num_steps", self.frames_per_update
        if self.network.ppo_model_type == "ppo_rnn":
            name, count = "ppo_num_envs", self.ppo_num_envs
        minibatches = self.ppo_num_minibatches
        if count % minibatches:
            raise ValueError(f"ppo_num_minibatches = {minibatches}: must divide {name} = {count}")
        self.resume.check(self)
        if self.network.ppo_model_type == "ppo_rnd" and self.ppo_exploration != "none":
            raise ValueError(
                f"ppo_exploration = {self.ppo_exploration}: must be none with ppo_model_type = ppo_rnd, "
                f"which explores by RND"
            )
        return self

    def unused(self) -> set[str]:
        """The keys of explorations that are not used."""
        used = {
            "rnd_": self.network.ppo_model_type == "ppo_rnd",
            "icm_": self.ppo_exploration != "none",
            "icm_forward_coef": self.ppo_exploration == "icm",
            "icm_reward_coef": self.ppo_exploration == "icm",
            "e3b_": self.ppo_exploration == "e3b",
        }
        unused = tuple(prefix for prefix, is_used in used.items() if not is_used)
        return {key for key in PPOConfig.owners() if key.startswith(unused)}

    @property
    def explores(self) -> bool:
        """Whether there is an intrinsic reward."""
        return self.network.ppo_model_type == "ppo_rnd" or self.ppo_exploration != "none"

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
