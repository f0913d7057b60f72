"""The jobs of `workflow_config.yaml`: their configuration, their inputs and their digests."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from remdm.config.base import ConfigError, StageConfig
from remdm.config.layers import STAGES, Layer, base_layers, build, near, overridden
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.config.workflow import (
    WANDB,
    WANDB_FORM,
    PlannerEntry,
    WorkflowConfig,
    is_well_formed,
    load_workflow_config,
)
from remdm.workflow.digest import content_digest, figure_digest, stage_digest

RESULTS = "results"
METADATA = "metadata.json"
# Where a checkpoint, ours or a public one, has a file by which it is known.
MARKS = (METADATA, "_METADATA", "*/_METADATA", "*/*/_METADATA", "*/*/*/_METADATA")
# What the pipeline itself decides of how runs are saved and tracked.
WATCHING = frozenset(TrainingRuntimeConfig.model_fields) - {"save_policy", "resume_wandb_run_id", "jit"}
# What the jobs themselves fix: their place in the matrix, and the paths of their inputs.
FIXED = {"env_name", "seed", "policy", "num_repeats", "resume_step", "ppo_model_type"}.union(
    *(model.path_keys() for model in STAGES.values())
)
OVERRIDABLE = frozenset(key for model in STAGES.values() for key in model.model_fields) - FIXED


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


@dataclass(frozen=True)
class External:
    """A checkpoint that no stage makes; `digest` is of its content, or of the reference it is fetched by."""

    checkpoint: str
    digest: str
    reference: str | None = None

    @property
    def name(self) -> str:
        """The name of the folder it is fetched into."""
        return Path(self.checkpoint).parent.name


class Plan:
    """Everything the Snakefile asks; building it validates every job and never imports JAX."""

    def __init__(self, config: WorkflowConfig, origin: str) -> None:
        self.config = config
        self.scale = config.chosen
        self.origin = origin
        watching = Layer(f"{origin}: runtime", config.runtime).checked(WATCHING)
        self.runtime = build(TrainingRuntimeConfig, [*base_layers(None), watching])
        self.notes: list[str] = []
        self.external = self._find_external()
        self._configs = {job: self._build_config(job) for job in self.jobs}
        self._check_overrides_are_read()
        self._digests: dict[Job, str] = {}
        for job in self.jobs:  # each after those it depends on
            inputs = [
                f"{key}={found.digest if isinstance(found, External) else self._digests[found]}"
                for key, found in self.dependencies(job).items()
            ]
            self._digests[job] = stage_digest(job.stage, self.job_config(job), inputs)

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any]) -> "Plan":
        """Read and validate the workflow configuration and all it names.

        Raises:
            ConfigError: on the first thing that cannot run.
        """
        return cls(load_workflow_config(path, dict(overrides)), str(path))

    def _find_external(self) -> External | None:
        """The expert's checkpoint if it is not trained here.

        Raises:
            UserError: it is no folder, has no file that checkpoints have, is none of an expert for the
                scale's game, or a reference is not of the right form.
        """
        path = self.scale.expert.checkpoint
        if path is None:
            return None
        key = f"{self._keys}.expert.checkpoint"
        games = list(dict.fromkeys(self.scale.envs))
        if len(games) > 1:
            raise ConfigError(f"{key} = {path}: plays one game, but envs names {', '.join(games)}; leave one")
        if path.startswith(WANDB):
            if not is_well_formed(path):
                raise ConfigError(f"{key} = {path}: not of the form {WANDB_FORM}")
            slug = re.sub(r"[^\w.-]+", "-", path.removeprefix(WANDB))
            return External(f"{RESULTS}/experts/{slug}/checkpoint", digest=path, reference=path)
        if Path(path).is_dir() and not any(next(Path(path).glob(mark), None) for mark in MARKS):
            raise ConfigError(
                f"{key} = {path}: is no checkpoint, for it has no metadata.json (ours) and no "
                f"policies/<frames>/default/_METADATA (a public one)"
            )
        digest = content_digest(key, path)
        if (Path(path) / METADATA).is_file():
            _check_ours(key, Path(path), games[0])
        return External(str(Path(path)), digest)

    @property
    def _keys(self) -> str:
        """Where the keys of the scale stand, for messages."""
        return f"{self.origin}: scales.{self.config.scale}"

    @property
    def fetched(self) -> External | None:
        """The expert's checkpoint if a job of its own fetches it."""
        return self.external if self.external is not None and self.external.reference is not None else None

    def _check_overrides_are_read(self) -> None:
        """Refuse an override that changes no job.

        Raises:
            ConfigError: such as a key of PPO where the expert is there already.
        """
        read = {key for config in self._configs.values() for key in config.recorded()}
        for key, value in self.scale.overrides.items():
            if key not in read:
                raise ConfigError(
                    f"{self._keys}.overrides: {key} = {value}: has no effect, for no job of this scale reads "
                    f"it; drop it"
                )

    @cached_property
    def planners(self) -> dict[str, PlannerEntry]:
        """Planners by the name their evaluation goes by."""
        planners = {f"{entry.method}-{entry.name}": entry for entry in self.scale.planners}
        for entry in self.scale.planners:
            if entry.warm_start is not None and f"offline-{entry.warm_start}" not in planners:
                raise ConfigError(
                    f"{self.origin}: warm_start = {entry.warm_start}: not among the offline planners"
                    f"{near(entry.warm_start, (e.preset for e in self.scale.planners))}"
                )
        return planners

    @cached_property
    def policies(self) -> list[str]:
        """Everyone who is evaluated."""
        return [self.scale.expert.name, *self.planners, "random"]

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after those it depends on."""
        return [
            Job(env, stage, name, seed)
            for env in self.scale.envs
            for seed in self.scale.seeds
            for stage, name in self._stages()
        ]

    def _stages(self) -> Iterator[tuple[str, str]]:
        if self.external is None:
            yield "ppo", self.scale.expert.name
        yield "collect", self.scale.expert.name
        for entry in self.planners.values():
            yield entry.method, entry.name
        for policy in self.policies:
            yield "inference", policy

    @property
    def targets(self) -> list[str]:
        """What a bare `snakemake` makes: the report, the tables, and every run's own figure."""
        own = {"inference": "achievements.png"}
        figures = [f"{job.folder}/{own.get(job.stage, 'curves.png')}" for job in self.jobs]
        return [f"{RESULTS}/paper/report.html", f"{RESULTS}/paper/tables/policies.csv", *figures]

    @property
    def wildcards(self) -> dict[str, str]:
        """What a wildcard may be: only what some job is."""
        return {
            "env": "|".join(dict.fromkeys(job.env for job in self.jobs)),
            "name": "|".join(dict.fromkeys(job.name for job in self.jobs)),
            "seed": "|".join(dict.fromkeys(str(job.seed) for job in self.jobs)),
        }

    def find(self, stage: str, wildcards: Mapping[str, str]) -> Job:
        """The job that a rule's wildcards name."""
        return Job(wildcards["env"], stage, wildcards["name"], int(wildcards["seed"]))

    def dependencies(self, job: Job) -> dict[str, Job | External]:
        """Whose checkpoints it reads, by the key that names the checkpoint."""
        expert = self.external or Job(job.env, "ppo", self.scale.expert.name, job.seed)
        if job.stage == "ppo" or job.name == "random":
            return {}
        if job.stage == "inference":
            entry = self.planners.get(job.name)
            played = expert if entry is None else Job(job.env, entry.method, entry.name, job.seed)
            return {"checkpoint_path": played}
        entry = self.planners.get(f"{job.stage}-{job.name}")
        if entry is None or entry.warm_start is None:
            return {"ppo_checkpoint_path": expert}
        offline = Job(job.env, "offline", entry.warm_start, job.seed)
        return {"ppo_checkpoint_path": expert, "offline_checkpoint_path": offline}

    def checkpoint(self, stage: str, key: str, wildcards: Mapping[str, str]) -> list[str]:
        """The path of a checkpoint that a job reads; none if it reads none by that key."""
        found = self.dependencies(self.find(stage, wildcards)).get(key)
        return [] if found is None else [found.checkpoint]

    def job_config(self, job: Job) -> StageConfig:
        """The validated configuration of a job."""
        return self._configs[job]

    def _build_config(self, job: Job) -> StageConfig:
        fixed: dict[str, Any] = {"env_name": job.env, "seed": job.seed, "num_repeats": 1}
        if job.stage == "ppo":
            fixed["ppo_model_type"] = self.scale.expert.model
        if job.stage == "inference":
            fixed["policy"] = {self.scale.expert.name: "expert", "random": "random"}.get(job.name, "planner")
        overrides = Layer(f"{self._keys}.overrides", self.scale.overrides)
        layers = [*self._presets(job), overrides.checked(OVERRIDABLE), Layer(self.origin, fixed)]
        self.notes += [note for note in overridden(STAGES[job.stage], layers) if note not in self.notes]
        return build(STAGES[job.stage], layers)

    def _presets(self, job: Job) -> list[Layer]:
        """Defaults, the scale's preset, and for a planner and its evaluation the planner's own.

        Raises:
            ConfigError: a planner's preset is for another game.
        """
        if job.stage in ("offline", "online"):
            layers = base_layers(self.planners[f"{job.stage}-{job.name}"].preset)
        else:
            layers = base_layers(self.scale.preset)
            if job.stage == "inference" and job.name in self.planners:
                layers.append(base_layers(self.planners[job.name].preset)[-1])
        for layer in layers[1:]:
            game = layer.values.get("env_name", job.env)
            if game != job.env:
                raise ConfigError(f"{layer.origin}: env_name = {game}: but the job plays {job.env}")
        return layers

    def digest(self, job: Job) -> str:
        """Digest of all that decides the job's result: its keys, its code, and what it depends on."""
        return self._digests[job]

    def params(self, stage: str, wildcards: Mapping[str, str]) -> tuple[str, str]:
        """A rule's parameters, as strings: the resolved configuration, and the digest."""
        job = self.find(stage, wildcards)
        return json.dumps(self.job_config(job).recorded()), self.digest(job)

    def jobs_of(self, *stages: str) -> list[Job]:
        """All jobs of some stages."""
        return [job for job in self.jobs if job.stage in stages]

    def figure_digest(self, module: str, *jobs: Job) -> str:
        """Digest of a figure or table drawn by a module of `analysis/` from some jobs."""
        return figure_digest(module, [self.digest(job) for job in jobs])


def _check_ours(key: str, folder: Path, env_name: str) -> None:
    """Refuse a checkpoint of ours that is no expert for a game; a job would find that out hours later.

    Raises:
        ConfigError: another kind or game, or no readable metadata.
    """
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        told = {name: metadata.get(name) for name in ("kind", "env_name")}
    except (OSError, ValueError, AttributeError):
        raise ConfigError(f"{key} = {folder}: its {METADATA} cannot be read as an object") from None
    for name, wanted in (("kind", "expert"), ("env_name", env_name)):
        if told[name] != wanted:
            raise ConfigError(f"{key} = {folder}: its {name} is {told[name]}, but {wanted} is needed")
