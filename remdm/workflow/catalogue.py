"""What is drawn of which jobs: the catalogue of figures and tables."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from remdm.workflow.job import RESULTS, Job
from remdm.workflow.matrix import Cell

PAPER = f"{RESULTS}/paper"
# What is drawn of a film; only planners denoise.
PICTURES = {"episode": ".gif", "path": ".png", "unlocks": ".png", "denoising": ".png"}


@dataclass(frozen=True)
class Figure:
    """Figures or tables that a module of `analysis/` makes of some jobs' results.

    Attributes:
        path: of the outputs, without their suffixes.
    """

    path: str
    suffixes: tuple[str, ...]
    module: str
    jobs: tuple[Job, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return Path(self.path).name

    @property
    def outputs(self) -> list[str]:
        """Its files."""
        return [f"{self.path}{suffix}" for suffix in self.suffixes]

    @property
    def record(self) -> str:
        """What it says of itself."""
        return f"{self.path}.run.json"

    def __str__(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True)
class Catalogue:
    """All figures and tables of some jobs.

    Attributes:
        cells: what each job is, seeds apart.
    """

    cells: dict[Job, Cell]

    def of(self, *stages: str) -> list[Job]:
        """All jobs of some stages."""
        return [job for job in self.cells if job.stage in stages]

    @cached_property
    def figures(self) -> list[Figure]:
        """All figures and tables: each run's own, then those of the paper."""
        own = [
            Figure(job.figure, (".png",), Path(job.figure).name, (job,))
            for job in self.cells
            if job.stage != "film"
        ]
        gallery = Figure(f"{PAPER}/gallery", (".html",), "gallery", tuple(self.of("film")))
        suites = [
            Figure(f"{RESULTS}/{env}/ablations/report", (".md",), "ablations/report", tuple(jobs))
            for env in dict.fromkeys(job.env for job in self.cells)
            if (jobs := [job for job in self.of("ablations") if job.env == env])
        ]
        report = Figure(f"{PAPER}/report", (".html",), "report", self._compared)
        return [
            *own, *suites, *self.pictures, *self.paper_figures, *self.paper_tables, gallery, report,
        ]  # fmt: skip

    @cached_property
    def pictures(self) -> list[Figure]:
        """What is drawn of every film; what it unlocks, beside the expert's in the same worlds."""
        experts = {job.env: job for job in reversed(self.of("film")) if self.cells[job].policy == "expert"}
        return [
            Figure(f"{film.folder}/{name}", (suffix,), name, tuple(dict.fromkeys(jobs)))
            for film in self.of("film")
            for name, suffix in PICTURES.items()
            if name != "denoising" or self.cells[film].policy == "planner"
            for jobs in [(experts[film.env], film) if name == "unlocks" else (film,)]
        ]

    @property
    def _compared(self) -> tuple[Job, ...]:
        """The jobs that the paper compares; ablations, films and sweeps are shown apart."""
        return tuple(job for job in self.cells if job.stage not in ("ablations", "film", "sweep"))

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
