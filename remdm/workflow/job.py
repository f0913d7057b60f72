"""One stage of one experiment, and where its files lie."""

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
        """Where its results lie."""
        return f"{RESULTS}/{self.env}/{self.stage}/{self.name}/s{self.seed}"

    @property
    def checkpoint(self) -> str:
        """Where it leaves its checkpoint, if it trains."""
        return f"{self.folder}/checkpoint"

    @property
    def record(self) -> str:
        """What it says of itself."""
        return f"{self.folder}/run.json"

    @property
    def results(self) -> list[str]:
        """The files that figures and tables are made of."""
        return [self.record, *(f"{self.folder}/{file}" for file in STAGES[self.stage].shown)]

    def __str__(self) -> str:
        return self.folder
