"""Keys of the reverse sampler."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from remdm.config.base import Fraction, NonNegativeFloat, Section

Strategy = Literal["rescale", "cap", "conf", "conf_softmax"]
Inner = Annotated[float, Field(gt=0, lt=1)]


class SamplerConfig(Section):
    """Sampler: how a plan is denoised.

    The number of steps is a key of the stage that plans.
    """

    remask_strategy: Strategy = Field(description="which committed tokens are re-masked")
    eta: Fraction = Field(description="strength of remasking; 0 is plain ancestral sampling")
    use_loop: bool = Field(description="remask only while alpha is held between t_on and t_off")
    t_on: Inner = Field(description="time at which the loop starts; alpha is held at its value")
    t_off: Inner = Field(description="time at which the loop ends: (t_on - t_off) of the steps")
    temperature: NonNegativeFloat = Field(description="temperature of the tokens; 0 takes the argmax")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(description="nucleus of the tokens")

    @model_validator(mode="after")
    def _loop_is_ordered(self) -> "SamplerConfig":
        if self.t_off >= self.t_on:
            raise ValueError(f"t_off = {self.t_off}: must be below t_on = {self.t_on}")
        return self

    def check_steps(self, key: str, steps: int) -> None:
        """Refuse with a `ValueError` a number of steps too small for the loop's three phases."""
        if self.use_loop and steps < 3:
            raise ValueError(
                f"{key} = {steps}: the loop has three phases, so it must be at least 3 (or use_loop: false)"
            )
