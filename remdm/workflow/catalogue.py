"""The catalogue of figures and tables, and the jobs that each shows."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from remdm.config.stages import STAGES
from remdm.workflow.job import RESULTS, Job
from remdm.workflow.matrix import Cell

PAPER = f"{RESULTS}/paper"


@dataclass(frozen=True)
class Figure:
    """A figure or table that a module of `analysis/` makes from the results of some jobs.

    Attributes:
        path: that of the outputs, without suffix.
    """

    path: str
    suffixes: tuple[str, ...]
    module: str
    jobs: tuple[Job, ...]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return Path(self.path).name

    @property
    def outputs(self) -> list[str]:
        """The paths of its files."""
        return [f"{self.path}{suffix}" for suffix in self.suffixes]

    @property
    def record(self) -> str:
        """The path of its record."""
        return f"{self.path}.run.json"

    def __str__(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True)
class Catalogue:
    """All figures and tables of some jobs.

    Attributes:
        cells: the cell of each job, the same for all seeds.
    """

    cells: dict[Job, Cell]

    def of(self, *stages: str) -> list[Job]:
        """All jobs of some stages."""
        return [job for job in self.cells if job.stage in stages]

    @cached_property
    def figures(self) -> list[Figure]:
        """All figures and tables: those of single runs, then those of the suites and of the paper."""
        gallery = Figure(f"{PAPER}/gallery", (".html",), "gallery", tuple(self.of("film")))
        suites = [
            Figure(f"{RESULTS}/{env}/ablations/report", (".md",), "ablations/report", tuple(jobs))
            for env in dict.fromkeys(job.env for job in self.cells)
            if (jobs := [job for job in self.of("ablations") if job.env == env])
        ]
        report = Figure(f"{PAPER}/report", (".html",), "report", self._compared)
        return [
            *self.pictures, *suites, *self.paper_figures, *self.paper_tables, gallery, report,
        ]  # fmt: skip

    @cached_property
    def pictures(self) -> list[Figure]:
        """The pictures of every job; some also show the first expert in the same worlds."""
        experts = {
            (job.env, job.stage): job for job in reversed(self.cells) if self.cells[job].policy == "expert"
        }
        return [
            Figure(
                f"{job.folder}/{picture.output}", (picture.suffix,), picture.name, tuple(dict.fromkeys(jobs))
            )
            for job, cell in self.cells.items()
            for picture in STAGES[job.stage].pictures
            if cell.policy == "planner" or not picture.of_planners
            for jobs in [(experts[job.env, job.stage], job) if picture.beside_expert else (job,)]
        ]

    @property
    def of_films(self) -> list[Figure]:
        """The pictures of recorded episodes, which the gallery shows."""
        return [figure for figure in self.pictures if figure.jobs[0].stage == "film"]

    @property
    def _compared(self) -> tuple[Job, ...]:
        """The jobs that the paper compares; ablations, films and studies of planners are shown elsewhere."""
        apart = ("ablations", "film", "sweep", "imitation")
        return tuple(job for job in self.cells if job.stage not in apart)

    @cached_property
    def paper_figures(self) -> list[Figure]:
        """Figures of the paper."""
        trained, evaluated = self.of("ppo", "offline", "online"), self.of("inference")
        shown = {
            "returns": evaluated,
            "profiles": evaluated,
            "achievements": evaluated,
            "learning": trained,
            "dagger": self.of("online"),
            "scaling": [*self.of("offline", "online"), *evaluated],
            "costs": self._compared,
        }
        if studied := self.of("imitation"):
            shown["gap"] = [*evaluated, *studied]
        if any(cell.planner and cell.planner.grid for cell in self.cells.values()):
            shown["grid"] = [*self.of("offline", "online"), *evaluated]
        suffixes = (".png", ".pdf", ".txt")
        return [
            Figure(f"{PAPER}/figures/{name}", suffixes, name, tuple(jobs)) for name, jobs in shown.items()
        ]

    @cached_property
    def paper_tables(self) -> list[Figure]:
        """Tables of the paper."""
        evaluated = self.of("inference")
        shown = dict.fromkeys(("policies", "published", "improvement", "achievements"), evaluated)
        shown["costs"] = list(self.cells)
        suffixes = (".csv", ".tex", ".md")
        return [
            Figure(f"{PAPER}/tables/{name}", suffixes, "tables", tuple(jobs)) for name, jobs in shown.items()
        ]
