"""Keys of the denoiser and of the diffusion it is trained for."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from remdm.config.base import Count, Horizon, Layers, PositiveFloat, Section, Width

PastObservations = Annotated[int, Field(ge=0, le=8)]  # the eighth is 128 steps earlier
# The keys of networks that see only the present.
NO_PAST = {"past_observations": 0, "past_actions": 0, "past_progress": False}
Dropout = Annotated[float, Field(ge=0, lt=1)]


class DenoiserConfig(Section):
    """Denoiser: the keys from which its checkpoint is rebuilt."""

    # Keys that may change when a planner is trained further; its parameters fit only the others' values.
    FREE: ClassVar = frozenset({"plan_horizon", "diffusion_schedule", "dropout_rate", "compute_dtype"})

    plan_horizon: Horizon = Field(description="actions in a plan, H")
    diffusion_schedule: Literal["cosine", "linear"] = Field(description="noise schedule alpha(t)")
    d_model: Width = Field(description="width of the transformer")
    n_heads: Width = Field(description="attention heads")
    n_layers: Layers = Field(description="transformer blocks")
    d_ff: Width = Field(description="inner width of the feed-forward layers")
    obs_encoder_layers: Layers = Field(description="layers of the observation encoder")
    obs_encoder_width: Width = Field(description="width of the observation encoder")
    time_scale: PositiveFloat = Field(
        description="factor of the diffusion time before its embedding; public planners have 1"
    )
    past_observations: PastObservations = Field(
        description="earlier observations in each input, from 1, 2, 4, ... steps before; an expert sees none"
    )
    past_actions: Count = Field(description="last actions in each input; an expert sees none")
    past_progress: bool = Field(
        description="include the episode's achievements so far and the last reward in each input"
    )
    dropout_rate: Dropout = Field(description="dropout in training")
    compute_dtype: Literal["float32", "bfloat16"] = Field(
        description="precision of the network's arithmetic; parameters and loss stay float32"
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "DenoiserConfig":
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads = {self.n_heads}: must divide d_model = {self.d_model}")
        if self.d_model % 2:
            raise ValueError(
                f"d_model = {self.d_model}: must be even (sine and cosine halves of the positions)"
            )
        return self
