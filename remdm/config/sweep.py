"""Keys of the sweep over sampler settings."""

from itertools import product
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from remdm.config.base import Count, DenoisingSteps, Fraction, NonNegativeFloat, Positive, Unit
from remdm.config.policy import PlayingConfig
from remdm.config.ppo import ExpertInput
from remdm.config.sampler import Strategy

PlaySteps = Annotated[Count, Unit("steps of each environment")]


class Setting(NamedTuple):
    """A combination of the sampler keys that a sweep varies."""

    strategy: str
    steps: int
    eta: float
    temperature: float


class SweepConfig(PlayingConfig):
    """Sweep over sampler settings, the stage `sweep`."""

    expert: ExpertInput
    eval_num_envs: Positive = Field(description="parallel environments")
    sweep_strategies: list[Strategy] = Field(min_length=1, description="values of remask_strategy")
    sweep_steps: list[DenoisingSteps] = Field(min_length=1, description="numbers of denoising steps")
    sweep_etas: list[Fraction] = Field(min_length=1, description="values of eta")
    sweep_temperatures: list[NonNegativeFloat] = Field(min_length=1, description="values of temperature")
    sweep_windows: Positive = Field(description="held-out windows of the expert")
    sweep_plans: Annotated[Count, Field(ge=2)] = Field(description="plans for each window")
    sweep_play_steps: PlaySteps = Field(
        description="environment steps for which settings are played that differ from the sampler's keys in "
        "at most one; 0 plays none"
    )

    @model_validator(mode="after")
    def _loop_fits(self) -> "SweepConfig":
        for steps in self.sweep_steps:
            self.sampler.check_steps("sweep_steps", steps)
        return self

    @property
    def settings(self) -> list[Setting]:
        """All combinations of the values."""
        values = self.sweep_strategies, self.sweep_steps, self.sweep_etas, self.sweep_temperatures
        return [Setting(*setting) for setting in product(*values)]

    @property
    def usual(self) -> Setting:
        """The setting of the sampler's own keys."""
        sampler = self.sampler
        return Setting(sampler.remask_strategy, self.diffusion_steps_eval, sampler.eta, sampler.temperature)

    def is_played(self, setting: Setting) -> bool:
        """Whether a setting is also played for its reward."""
        differing = sum(a != b for a, b in zip(setting, self.usual, strict=True))
        return self.sweep_play_steps > 0 and differing <= 1

    def unused(self) -> set[str]:
        """The keys of the usual sampler and of executing plans, if nothing is played."""
        played = {"remask_strategy", "diffusion_steps_eval", "eta", "temperature"}
        played |= {"replan_every", "inpaint_history"}
        return set() if self.sweep_play_steps else played
