"""The jobs of `workflow_config.yaml`: their configuration, their inputs and their digests."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from remdm.base.errors import ConfigError, near, shown
from remdm.base.state import STATE, forget_results, keep_results
from remdm.config.ablations import AblationsConfig
from remdm.config.inference import InferenceConfig
from remdm.config.layers import Layer, base_layers, build, overridden
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES
from remdm.config.workflow import ExpertEntry, WorkflowConfig, load_workflow_config
from remdm.workflow.catalogue import Catalogue, Figure
from remdm.workflow.digest import Origin, figure_origin, stage_origin
from remdm.workflow.external import External, find_external
from remdm.workflow.job import RESULTS, Job
from remdm.workflow.matrix import Cell, cells
from remdm.workflow.record import recorded_digest

SNAKEMAKE = Path(".snakemake")
# What the pipeline itself decides of how runs are saved and tracked.
WATCHING = frozenset(TrainingRuntimeConfig.model_fields) - {"save_policy", "resume_wandb_run_id", "jit"}
# What the jobs themselves fix: their place in the matrix, and the paths of their inputs.
FIXED = {"env_name", "seed", "policy", "arm", "num_repeats", "resume_step", "ppo_model_type"}.union(
    *(stage.model.path_keys() for stage in STAGES.values())
)
OVERRIDABLE = frozenset(key for stage in STAGES.values() for key in stage.model.owners()) - FIXED
PLAYABLE = frozenset(key for stage in STAGES.values() if stage.plays for key in stage.model.owners()) - FIXED


class Plan:
    """Everything the Snakefile asks; building it validates every job and never imports JAX."""

    def __init__(self, config: WorkflowConfig, origin: str) -> None:
        self.config = config
        self.scale = config.chosen
        self.origin = origin
        watching = Layer(f"{origin}: runtime", config.runtime).checked(WATCHING)
        self.runtime = build(TrainingRuntimeConfig, [*base_layers(None), watching])
        self.notes: list[str] = []
        self.externals = self._find_externals()
        self._cells: dict[tuple[str, str, str], Cell] = {}
        self._configs: dict[Job, StageConfig] = {}
        for env in dict.fromkeys(self.scale.envs):
            for cell in cells(self.scale, env, self._keys):
                self._add(env, cell)
        self._check_ablations_fit()
        self._check_keys_are_read()
        self._origins: dict[Job, Origin] = {}
        for job, built in self._configs.items():  # each after those it depends on
            inputs = {
                key: found.digest if isinstance(found, External) else self._origins[found].digest
                for key, found in self.dependencies(job).items()
            }
            self._origins[job] = stage_origin(job.stage, built, inputs)

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any]) -> "Plan":
        """Read and validate the workflow configuration and all it names.

        Raises:
            ConfigError: on the first thing that cannot run.
        """
        return cls(load_workflow_config(path, dict(overrides)), str(path))

    def _find_externals(self) -> dict[ExpertEntry, External]:
        """The checkpoints of experts that are not trained here.

        Raises:
            UserError: one cannot be used, or plays one game where the scale has several.
        """
        found = {}
        games = list(dict.fromkeys(self.scale.envs))
        for i, expert in enumerate(self.scale.experts):
            if expert.env is not None and expert.env not in games:
                raise ConfigError(f"{self._keys}.experts.{i}.env = {expert.env}: not among envs")
            if expert.checkpoint is None:
                continue
            key = f"{self._keys}.experts.{i}.checkpoint"
            if expert.env is None and len(games) > 1:
                raise ConfigError(
                    f"{key} = {expert.checkpoint}: plays one game, but envs names {', '.join(games)}; say "
                    f"which as env"
                )
            game = expert.env or games[0]
            found[expert] = find_external(key, expert.checkpoint, game, f"{RESULTS}/experts")
        return found

    @property
    def _keys(self) -> str:
        """Where the keys of the scale stand, for messages."""
        return f"{self.origin}: scales.{self.config.scale}"

    def _add(self, env: str, cell: Cell) -> None:
        """Add a cell's jobs; a further evaluation that would be as the preset's is left out.

        Films are of the first seed.
        """
        seeds = self.scale.seeds[:1] if cell.stage == "film" else self.scale.seeds
        jobs = [Job(env, cell.stage, cell.name, seed) for seed in seeds]
        built = {job: self._build_config(job, cell) for job in jobs}
        if cell.evaluation is not None:
            plain = cell._replace(evaluation=None)
            [*_, (job, config)] = built.items()
            if self._build_config(job, plain).recorded() == config.recorded():
                return
        self._cells[env, cell.stage, cell.name] = cell
        self._configs |= built

    def _check_keys_are_read(self) -> None:
        """Refuse a key of the scale that changes no job.

        Raises:
            ConfigError: such as a key of PPO where the expert is there already.
        """
        played, trained = set[str](), set[str]()
        for job, config in self._configs.items():
            (played if STAGES[job.stage].plays else trained).update(config.recorded())
        overrides, playing = self.scale.overrides, self.scale.playing
        overridden = trained | (played - playing.keys())  # `playing` lies over `overrides`
        for name, given, read in (("overrides", overrides, overridden), ("playing", playing, played)):
            for key, value in given.items():
                if key not in read:
                    raise ConfigError(
                        f"{self._keys}.{name}: {key} = {shown(value)}: has no effect on any job of this "
                        f"scale; drop it"
                    )
        for name in self.scale.evaluations:
            if not any(cell.evaluation == name for cell in self._cells.values()):
                raise ConfigError(f"{self._keys}.evaluations.{name}: changes no evaluation; drop it")

    def _check_ablations_fit(self) -> None:
        """Refuse a suite of no planner, or rollouts that do not fit its plans; a job would find out late.

        Raises:
            ConfigError: the message names the key.
        """
        planners = {f"{stage}-{name}" for _, stage, name in self._cells if stage in ("offline", "online")}
        for entry in self.scale.ablations:
            if entry.planner not in planners:
                raise ConfigError(
                    f"{self._keys}.ablations: planner = {entry.planner}: not among the planners "
                    f"{', '.join(sorted(planners))}{near(entry.planner, planners)}"
                )
        for job in self.jobs_of("ablations"):
            config, planner = self._configs[job], self._configs[self._trained(job, self.cell(job))]
            assert isinstance(config, AblationsConfig)
            assert isinstance(planner, PlannerTrainingConfig)
            try:
                config.check_fits(planner.denoiser.plan_horizon)
            except ConfigError as error:
                raise ConfigError(f"{self._keys}.ablations: {error}") from None

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs, each after those it depends on."""
        return list(self._configs)

    @property
    def fetched(self) -> dict[str, External]:
        """The checkpoints that a job of its own fetches, by the names of their folders."""
        return {found.slug: found for found in self.externals.values() if found.reference is not None}

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is drawn of the jobs."""
        return Catalogue({job: self.cell(job) for job in self.jobs})

    @property
    def products(self) -> list[Job | Figure]:
        """All jobs and figures, each after those it is made from."""
        return [*self.jobs, *self.catalogue.figures]

    @property
    def targets(self) -> list[str]:
        """What a bare `snakemake` makes: everything."""
        return [output for figure in self.catalogue.figures for output in figure.outputs]

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

    def cell(self, job: Job) -> Cell:
        """What a job is, seeds apart."""
        return self._cells[job.env, job.stage, job.name]

    def dependencies(self, job: Job) -> dict[str, Job | External]:
        """Whose checkpoints it reads, by the key that names the checkpoint."""
        cell = self.cell(job)
        if cell.expert is None or job.stage == "ppo":
            return {}
        expert = self.externals.get(cell.expert) or Job(job.env, "ppo", cell.expert.name, job.seed)
        if STAGES[job.stage].plays or job.stage == "ablations":
            played = self._trained(job, cell) if cell.planner else expert
            asks = job.stage in ("sweep", "imitation") or (job.stage == "film" and cell.planner)
            compared = {"ppo_checkpoint_path": expert} if asks else {}
            return {"checkpoint_path": played, **compared}
        found: dict[str, Job | External] = {"ppo_checkpoint_path": expert}
        if cell.planner is not None and cell.planner.warm_start is not None:
            found["offline_checkpoint_path"] = self._trained(job, cell, warm_start=True)
        return found

    def _trained(self, job: Job, cell: Cell, warm_start: bool = False) -> Job:
        """The training of the planner that a cell plays or fine-tunes, or that it starts from."""
        for (env, stage, name), other in self._cells.items():
            if env != job.env or stage not in ("offline", "online") or other.expert != cell.expert:
                continue
            assert cell.planner is not None
            assert other.planner is not None
            wanted = (stage, other.planner.name) == ("offline", cell.planner.warm_start)
            if wanted if warm_start else other.planner == cell.planner:
                return Job(env, stage, name, job.seed)
        raise AssertionError(f"{job}: no such planner")  # `cells` has checked

    def job_config(self, job: Job) -> StageConfig:
        """The validated configuration of a job."""
        return self._configs[job]

    def _build_config(self, job: Job, cell: Cell) -> StageConfig:
        model = STAGES[job.stage].model
        fixed: dict[str, Any] = {"env_name": job.env, "seed": job.seed, "num_repeats": 1}
        if job.stage == "ppo" and cell.expert is not None:
            fixed["ppo_model_type"] = cell.expert.model
        if "policy" in model.model_fields:
            fixed["policy"] = cell.policy
        if job.stage == "ablations":
            fixed["arm"] = cell.name
        overrides = Layer(f"{self._keys}.overrides", self.scale.overrides).checked(OVERRIDABLE)
        layers = [*self._presets(job, cell), overrides]
        if STAGES[job.stage].plays:
            layers.append(Layer(f"{self._keys}.playing", self.scale.playing).checked(PLAYABLE))
        if cell.evaluation is not None:
            origin = f"{self._keys}.evaluations.{cell.evaluation}"
            own = Layer(origin, self.scale.evaluations[cell.evaluation])
            layers.append(own.checked(set(InferenceConfig.owners()) - FIXED))
        layers.append(Layer(self.origin, fixed))
        self.notes += [note for note in overridden(model, layers) if note not in self.notes]
        return build(model, layers)

    def _presets(self, job: Job, cell: Cell) -> list[Layer]:
        """Defaults, the scale's preset, and for a planner and its evaluation the planner's own.

        Raises:
            ConfigError: a planner's preset is for another game.
        """
        if cell.preset is not None:
            layers = base_layers(cell.preset)
        elif cell.planner is None:
            layers = base_layers(self.scale.preset)
        elif STAGES[job.stage].plays:
            layers = [*base_layers(self.scale.preset), base_layers(cell.planner.preset)[-1]]
        else:
            layers = base_layers(cell.planner.preset)
        for layer in layers[1:]:
            game = layer.values.get("env_name", job.env)
            if game != job.env:
                raise ConfigError(f"{layer.origin}: env_name = {game}: but the job plays {job.env}")
        return layers

    def origin_of(self, product: Job | Figure) -> Origin:
        """All that decides a result: its keys, its code, and what it is made from."""
        return self._origins[product] if isinstance(product, Job) else self._figure_origins[product]

    @cached_property
    def _figure_origins(self) -> dict[Figure, Origin]:
        return {
            figure: figure_origin(figure.module, {job.folder: self.digest(job) for job in figure.jobs})
            for figure in self.catalogue.figures
        }

    def inputs_of(self, product: Job | Figure) -> Mapping[str, Job | External]:
        """What a result is made from, by the names that its origin has for them."""
        if isinstance(product, Job):
            return self.dependencies(product)
        return {job.folder: job for job in product.jobs}

    def digest(self, job: Job) -> str:
        """The digest of a job's origin."""
        return self._origins[job].digest

    def figure(self, path: str) -> Figure:
        """The figure whose outputs have a path, but for their suffixes."""
        return self._figures[path]

    @cached_property
    def _figures(self) -> dict[str, Figure]:
        return {figure.path: figure for figure in self.catalogue.figures}

    def figure_digest(self, path: str) -> str:
        """The digest of a figure's origin."""
        return self.origin_of(self.figure(path)).digest

    @property
    def origins(self) -> dict[str, str]:
        """All origins as jobs are told them, by digest."""
        found = [*self._origins.values(), *self._figure_origins.values()]
        return {origin.digest: origin.to_json() for origin in found}

    def jobs_of(self, *stages: str) -> list[Job]:
        """All jobs of some stages."""
        return self.catalogue.of(*stages)

    def is_settled(self, maker: Job | External) -> bool:
        """Whether a result is there as it would be made now, by its own record."""
        if isinstance(maker, External):
            return True
        return recorded_digest(Path(maker.record)) == self.digest(maker)

    def unseen(self) -> list[str]:
        """Records of stale results that Snakemake takes for fresh.

        It compares parameters with those it has written into its own folder, and knows nothing of results
        that were moved here without that folder.
        """
        return [
            product.record
            for product in self.products
            if recorded_digest(Path(product.record)) not in (None, self.origin_of(product).digest)
            and not _has_noted("metadata", product.record)
        ]

    def keep_finished(self) -> None:
        """Keep whole results that Snakemake is about to remove; the jobs that it starts put them back.

        It takes what a job makes for incomplete if it was killed before the job ended.

        Raises:
            OSError: the disk does not take them.
        """
        for job in self.jobs:
            state = STATE / self.digest(job)
            forget_results(state)
            outputs = map(Path, STAGES[job.stage].paths(job.folder).values())
            noted = _has_noted("incomplete", job.record)
            if noted and self.is_settled(job) and all(output.exists() for output in outputs):
                keep_results(state, Path(job.folder))


def _has_noted(what: str, output: str) -> bool:
    """Whether Snakemake has a note of its own on an output, in a file of its name in base64."""
    return (SNAKEMAKE / what / urlsafe_b64encode(output.encode()).decode()).exists()
