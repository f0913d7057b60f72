"""Keys of filming."""

from pydantic import Field

from remdm.config.base import EnvSteps, Positive
from remdm.config.policy import PolicyConfig


class FilmConfig(PolicyConfig):
    """Filming, the stage `film`."""

    film_steps: EnvSteps = Field(description="where an episode is cut that has not ended")
    film_num_envs: Positive = Field(
        description="episodes, each of a world of its own; the first is filmed, all count in unlocks.png"
    )
