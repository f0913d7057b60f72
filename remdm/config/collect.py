"""Keys of collecting expert trajectories."""

from pydantic import Field, model_validator

from remdm.config.base import Frames, Positive, PositiveFloat, path_key
from remdm.config.env import EnvConfig
from remdm.config.ppo import ExpertInput
from remdm.config.stage import StageConfig


class CollectConfig(StageConfig):
    """Collecting trajectories, the stage `collect`."""

    env: EnvConfig
    expert: ExpertInput
    offline_data_path: str | None = path_key(
        "output file of the trajectories; null is trajectories.npz in the results", output=True
    )
    collect_num_steps: Frames = Field(description="frames to collect, summed over environments")
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
