"""Keys that every stage that trains has."""

from pydantic import Field, model_validator

from remdm.config.base import Count, Positive, Section, StageConfig, path_key


class TrainingConfig(StageConfig):
    """Training."""

    num_repeats: Positive = Field(description="independent repetitions, trained side by side in one job")

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
    """Going on from a finished run."""

    resume_checkpoint_path: str | None = path_key("a finished run's checkpoint to go on from", needed=False)
    resume_step: Count | None = Field(
        description="updates done in resume_checkpoint_path; null reads its metadata"
    )


class ResumableConfig(TrainingConfig, ResumeConfig):
    """A training stage that can extend a finished run."""

    @model_validator(mode="after")
    def _resume(self) -> "ResumableConfig":
        if self.resume_checkpoint_path is not None and self.num_repeats > 1:
            raise ValueError(f"num_repeats = {self.num_repeats}: must be 1 with resume_checkpoint_path")
        if self.resume_checkpoint_path is None and self.resume_step is not None:
            raise ValueError(f"resume_step = {self.resume_step}: needs resume_checkpoint_path")
        if self.resume_step is not None:
            self.check_resume_step(self.resume_step)
        return self

    def check_resume_step(self, step: int) -> None:
        """Refuse to go on from a step that leaves nothing to do."""
        if step >= self.num_updates:
            raise ValueError(
                f"resume_step = {step}: the budget is {self.num_updates} updates; raise {self.budget_key}"
            )
