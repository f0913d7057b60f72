"""Keys of filming."""

from pydantic import Field

from remdm.config.base import EnvSteps, Positive, path_key
from remdm.config.policy import PolicyConfig
from remdm.config.ppo import ExpertInput


class AskedExpert(ExpertInput):
    """The expert that is asked what it would do in the states of a film."""

    ppo_checkpoint_path: str | None = path_key("the expert's checkpoint", needed=False)


class FilmConfig(PolicyConfig):
    """Filming, the stage `film`."""

    expert: AskedExpert
    film_steps: EnvSteps = Field(description="where an episode is cut that has not ended")
    film_num_envs: Positive = Field(
        description="episodes, each of a world of its own; the first is filmed, all count in unlocks.png"
    )

    def inputs(self) -> dict[str, str | None]:
        """Whoever plays, an expert may be asked."""
        asked = self.expert.ppo_checkpoint_path
        return super().inputs() | ({} if asked is None else {"ppo_checkpoint_path": asked})

    @property
    def asked_expert(self) -> tuple[str, str | None] | None:
        """The key and the path of the expert's checkpoint, by default that of the expert who plays."""
        if self.expert.ppo_checkpoint_path is not None:
            return "ppo_checkpoint_path", self.expert.ppo_checkpoint_path
        return ("checkpoint_path", self.checkpoint_path) if self.policy == "expert" else None
