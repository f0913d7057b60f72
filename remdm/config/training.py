"""Keys that every stage that trains has."""

from pydantic import Field, model_validator

from remdm.config.base import Count, Positive, Section, path_key
from remdm.config.env import EnvConfig
from remdm.config.stage import StageConfig


class TrainingConfig(StageConfig):
    """Training."""

    env: EnvConfig
    num_repeats: Positive = Field(description="independent repetitions, trained together in one job")

    @property
    def frames_per_update(self) -> int:
        """Frames of one rollout."""
        raise NotImplementedError

    @property
    def num_updates(self) -> int:
        """Updates of the whole run."""
        raise NotImplementedError

    @property
    def budget_key(self) -> str:
        """The key that decides the number of updates."""
        raise NotImplementedError


class ResumeConfig(Section):
    """Resuming a finished run."""

    resume_checkpoint_path: str | None = path_key("a finished run's checkpoint to resume from", needed=False)
    resume_step: Count | None = Field(
        description="updates done in resume_checkpoint_path; null reads its metadata"
    )

    @model_validator(mode="after")
    def _step_of_a_checkpoint(self) -> "ResumeConfig":
        if self.resume_checkpoint_path is None and self.resume_step is not None:
            raise ValueError(f"resume_step = {self.resume_step}: needs resume_checkpoint_path")
        return self

    def check(self, training: TrainingConfig) -> None:
        """Raise a `ValueError` if a training cannot be resumed with these keys."""
        if self.resume_checkpoint_path is not None and training.num_repeats > 1:
            raise ValueError(f"num_repeats = {training.num_repeats}: must be 1 with resume_checkpoint_path")
        if self.resume_step is not None:
            self.check_step(training, self.resume_step)

    def check_step(self, training: TrainingConfig, step: int) -> None:
        """Raise a `ValueError` if a start at `step` leaves no updates to do."""
        if step >= training.num_updates:
            raise ValueError(
                f"resume_step = {step}: the budget is {training.num_updates} updates; "
                f"raise {training.budget_key}"
            )
