"""Keys of collecting expert trajectories."""

from pydantic import Field, model_validator

from remdm.config.base import Positive, PositiveFloat, StageConfig, path_key
from remdm.config.env import EnvConfig


class CollectConfig(StageConfig, EnvConfig):
    """The stage `collect`."""

    ppo_checkpoint_path: str | None = path_key("the expert's checkpoint")
    collect_num_steps: Positive = Field(description="frames to collect, summed over environments")
    collect_num_envs: Positive = Field(description="parallel environments")
    collect_temperature: PositiveFloat = Field(description="temperature of the expert's actions")

    @model_validator(mode="after")
    def _at_least_one_step(self) -> "CollectConfig":
        if self.collect_num_steps < self.collect_num_envs:
            raise ValueError(
                f"collect_num_steps = {self.collect_num_steps}: at least one for each of "
                f"collect_num_envs = {self.collect_num_envs}"
            )
        return self

    @property
    def num_iters(self) -> int:
        """Steps of each environment."""
        return self.collect_num_steps // self.collect_num_envs
