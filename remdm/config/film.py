"""Keys of recording an episode."""

from pydantic import Field

from remdm.config.base import EnvSteps, Positive, path_key
from remdm.config.policy import PolicyConfig
from remdm.config.ppo import ExpertInput


class AskedExpert(ExpertInput):
    """The expert that is evaluated in the states of a recording."""

    ppo_checkpoint_path: str | None = path_key("the expert's checkpoint", needed=False)


class FilmConfig(PolicyConfig):
    """Recording an episode, the stage `film`."""

    expert: AskedExpert
    film_steps: EnvSteps = Field(description="environment steps after which an unfinished episode is cut")
    film_num_envs: Positive = Field(
        description="episodes, each in its own world; the first is recorded, all count in unlocks.png"
    )

    def inputs(self) -> dict[str, str | None]:
        """The checkpoint of the policy and, if named, that of the expert."""
        key, path = self.expert.named_path
        return super().inputs() | ({} if path is None else {key: path})

    @property
    def asked_expert(self) -> tuple[str, str | None] | None:
        """Key and path of the evaluated expert's checkpoint, by default that of the expert that plays."""
        if self.expert.ppo_checkpoint_path is not None:
            return self.expert.named_path
        return ("checkpoint_path", self.checkpoint_path) if self.policy == "expert" else None
