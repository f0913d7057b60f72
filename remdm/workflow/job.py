"""One stage of one experiment, and where its files lie."""

from dataclasses import dataclass

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
        special = {
            "inference": ("summary.json", "episodes.parquet"),
            "film": ("film.npz",),
            "sweep": ("sweep.parquet",),
        }
        files = special.get(self.stage, ("metrics.parquet",))
        return [self.record, *(f"{self.folder}/{file}" for file in files)]

    @property
    def figure(self) -> str:
        """The path of its own figure, without suffix."""
        names = {"inference": "achievements", "sweep": "sweep"}
        return f"{self.folder}/{names.get(self.stage, 'curves')}"

    def __str__(self) -> str:
        return self.folder
