"""Keys of comparing a planner's predictions with its expert's."""

from pydantic import Field

from remdm.config.base import EnvSteps, Positive
from remdm.config.policy import PlayingConfig
from remdm.config.ppo import ExpertInput


class ImitationConfig(PlayingConfig):
    """How well a planner predicts its expert, the stage `imitation`."""

    expert: ExpertInput
    eval_num_envs: Positive = Field(description="parallel environments")
    imitation_steps: EnvSteps = Field(
        description="environment steps of the expert's play, and of the planner's"
    )
