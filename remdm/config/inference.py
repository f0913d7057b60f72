"""Keys of evaluation."""

from typing import Literal

from pydantic import Field

from remdm.config.base import EnvSteps, Positive
from remdm.config.policy import PolicyConfig


class InferenceConfig(PolicyConfig):
    """Evaluation, the stage `inference`."""

    eval_protocol: Literal["fixed_steps", "first_episode"] = Field(
        description="which episodes count: all completed in eval_steps, or the first of each environment, "
        "completed or not"
    )
    eval_steps: EnvSteps = Field(
        description="environment steps of each environment; with first_episode, at most so many"
    )
    eval_num_envs: Positive = Field(description="parallel environments")
