"""Keys of evaluation."""

from pydantic import Field

from remdm.config.base import EnvSteps, Positive
from remdm.config.env import EnvConfig
from remdm.config.policy import PolicyConfig


class InferenceConfig(PolicyConfig, EnvConfig):
    """Evaluation, the stage `inference`."""

    eval_steps: EnvSteps = Field(description="environment steps, of each environment")
    eval_num_envs: Positive = Field(description="parallel environments")
