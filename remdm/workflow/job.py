"""One stage of one experiment, and the paths of its files."""

from dataclasses import dataclass

from remdm.config.stages import STAGES

RESULTS = "results"


@dataclass(frozen=True)
class Job:
    """One stage of one experiment; `name` is the model, the preset or the policy."""

    env: str
    stage: str
    name: str
    seed: int

    @property
    def folder(self) -> str:
        """The folder of its results."""
        return f"{RESULTS}/{self.env}/{self.stage}/{self.name}/s{self.seed}"

    @property
    def checkpoint(self) -> str:
        """The folder of its checkpoint, if it trains."""
        return f"{self.folder}/checkpoint"

    @property
    def record(self) -> str:
        """The path of its record."""
        return f"{self.folder}/run.json"

    @property
    def results(self) -> list[str]:
        """The files from which figures and tables are made."""
        return [self.record, *(f"{self.folder}/{file}" for file in STAGES[self.stage].shown)]

    def __str__(self) -> str:
        return self.folder
