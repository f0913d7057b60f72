"""The jobs of `workflow_config.yaml`: their configuration, their inputs and their digests."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
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
from remdm.config.workflow import ExpertEntry, PlannerEntry, WorkflowConfig, load_workflow_config
from remdm.workflow.catalogue import Catalogue, Figure
from remdm.workflow.digest import Origin, figure_origin, stage_origin
from remdm.workflow.external import External, find_external
from remdm.workflow.job import RESULTS, Job
from remdm.workflow.matrix import Cell, cells
from remdm.workflow.record import recorded_digest

SNAKEMAKE = Path(".snakemake")
# Keys that `runtime` of the workflow configuration may set; the excluded ones keep their defaults.
WATCHING = frozenset(TrainingRuntimeConfig.model_fields) - {"save_policy", "resume_wandb_run_id", "jit"}
# Keys that each job fixes: its place in the matrix, and the paths of its inputs.
FIXED = {"env_name", "seed", "policy", "arm", "num_repeats", "resume_step", "ppo_model_type"}.union(
    *(stage.model.path_keys() for stage in STAGES.values())
)
OVERRIDABLE = frozenset(key for stage in STAGES.values() for key in stage.model.owners()) - FIXED
PLAYABLE = frozenset(key for stage in STAGES.values() if stage.plays for key in stage.model.owners()) - FIXED


class Plan:
    """Everything that the Snakefile needs; building it validates every job and never imports JAX."""

    def __init__(self, config: WorkflowConfig, origin: str) -> None:
        self.config = config
        self.scale = config.chosen
        self.origin = origin
        watching = Layer(f"{origin}: runtime", config.runtime).checked(WATCHING)
        self.runtime = build(TrainingRuntimeConfig, [*base_layers(None), watching])
        self.notes: list[str] = []
        self.externals = self._find_externals()
        self.configs: dict[Job, StageConfig] = {}  # each job after those it depends on
        self._cells: dict[Job, Cell] = {}
        for env in dict.fromkeys(self.scale.envs):
            for cell in cells(self.scale, env, self._keys):
                self._add(env, cell)
        self._check_ablations_fit()
        self._check_keys_are_read()
        self.catalogue = Catalogue(self._cells)
        self.figures = {figure.path: figure for figure in self.catalogue.figures}
        self._origins: dict[Job | Figure, Origin] = {}
        for product in self.products:
            self._origins[product] = self._find_origin(product)

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any]) -> "Plan":
        """Read and validate the workflow configuration and everything it names.

        Raises:
            ConfigError: the first problem found.
        """
        return cls(load_workflow_config(path, dict(overrides)), str(path))

    def _find_externals(self) -> dict[ExpertEntry | PlannerEntry, External]:
        """The checkpoints of experts and planners that are not trained here.

        Raises:
            UserError: one cannot be used, or plays one game where the scale has several.
        """
        found: dict[ExpertEntry | PlannerEntry, External] = {}
        games = list(dict.fromkeys(self.scale.envs))
        entries: list[tuple[str, str, ExpertEntry | PlannerEntry]] = [
            *((f"experts.{i}", "expert", entry) for i, entry in enumerate(self.scale.experts)),
            *((f"planners.{i}", "planner", entry) for i, entry in enumerate(self.scale.planners)),
        ]
        for place, kind, entry in entries:
            if entry.env is not None and entry.env not in games:
                raise ConfigError(f"{self._keys}.{place}.env = {entry.env}: not among envs")
            if entry.checkpoint is None:
                continue
            key = f"{self._keys}.{place}.checkpoint"
            if entry.env is None and len(games) > 1:
                raise ConfigError(
                    f"{key} = {entry.checkpoint}: plays one game, but envs names {', '.join(games)}; "
                    f"name it as env"
                )
            game = entry.env or games[0]
            found[entry] = find_external(key, entry.checkpoint, kind, game, f"{RESULTS}/{kind}s")
        return found

    @property
    def _keys(self) -> str:
        """The file and the scale, which precede a key in messages."""
        return f"{self.origin}: scales.{self.config.scale}"

    def _add(self, env: str, cell: Cell) -> None:
        """Add a cell's jobs, unless it is a further evaluation that equals the preset's.

        Films are only made for the first seed.
        """
        seeds = self.scale.seeds[:1] if cell.stage == "film" else self.scale.seeds
        jobs = [Job(env, cell.stage, cell.name, seed) for seed in seeds]
        built = {job: self._build_config(job, cell) for job in jobs}
        if cell.evaluation is not None:
            plain = cell._replace(evaluation=None)
            [*_, (job, config)] = built.items()
            if self._build_config(job, plain).recorded() == config.recorded():
                return
        self._cells |= dict.fromkeys(jobs, cell)
        self.configs |= built

    def _check_keys_are_read(self) -> None:
        """Refuse a key of the scale that changes no job, such as a PPO key where no expert is trained."""
        played, trained = set[str](), set[str]()
        for job, config in self.configs.items():
            (played if STAGES[job.stage].plays else trained).update(config.recorded())
        overrides, playing = self.scale.overrides, self.scale.playing
        overridden = trained | (played - playing.keys())  # `playing` overrides `overrides`
        for name, given, read in (("overrides", overrides, overridden), ("playing", playing, played)):
            for key, value in given.items():
                if key not in read:
                    raise ConfigError(
                        f"{self._keys}.{name}: {key} = {shown(value)}: has no effect on any job of this "
                        f"scale; drop it"
                    )
        for entry in self.scale.planners:
            own = [job for job, cell in self._cells.items() if cell.planner == entry]
            used = set[str]().union(*(self.configs[job].recorded() for job in own))
            for key in entry.overrides.keys() - used:
                raise ConfigError(f"{self._keys}.planners: {entry.name}: grid: {key}: has no effect; drop it")
        for name in self.scale.evaluations:
            if not any(cell.evaluation == name for cell in self._cells.values()):
                raise ConfigError(f"{self._keys}.evaluations.{name}: changes no evaluation; drop it")

    def _check_ablations_fit(self) -> None:
        """Refuse a suite without planner, or whose rollouts do not fit the plans, before any job runs."""
        planners = {cell.player for cell in self._cells.values() if cell.stage in ("offline", "online")}
        planners |= {entry.name for entry in self.scale.planners if entry.checkpoint}
        for entry in self.scale.ablations:
            if entry.planner not in planners:
                raise ConfigError(
                    f"{self._keys}.ablations: planner = {entry.planner}: not among the planners "
                    f"{', '.join(sorted(planners))}{near(entry.planner, planners)}"
                )
        for job in (job for job in self.jobs if job.stage == "ablations"):
            config, horizon = self.configs[job], self._plan_horizon(self.dependencies(job)["checkpoint_path"])
            assert isinstance(config, AblationsConfig)
            try:
                if horizon is not None:
                    config.check_fits(horizon)
            except ConfigError as error:
                raise ConfigError(f"{self._keys}.ablations: {error}") from None

    def _plan_horizon(self, planner: Job | External) -> int | None:
        """The length of a planner's plans; None if it is still to be fetched."""
        if isinstance(planner, External):
            return planner.plan_horizon
        config = self.configs[planner]
        assert isinstance(config, PlannerTrainingConfig)
        return config.denoiser.plan_horizon

    @property
    def jobs(self) -> list[Job]:
        """All jobs, each after those it depends on."""
        return list(self.configs)

    @property
    def fetched(self) -> dict[str, External]:
        """The checkpoints that the rule `expert` fetches, by the names of their folders."""
        return {found.slug: found for found in self.externals.values() if found.reference is not None}

    @property
    def products(self) -> list[Job | Figure]:
        """All jobs and figures, each after its inputs."""
        return [*self.jobs, *self.figures.values()]

    @property
    def targets(self) -> list[str]:
        """All outputs, which `snakemake` without arguments makes."""
        return [output for figure in self.figures.values() for output in figure.outputs]

    @property
    def wildcards(self) -> dict[str, str]:
        """The values of each wildcard, as a pattern: those that occur in a job."""
        parts = ("env", "name", "seed")
        return {part: "|".join(dict.fromkeys(str(getattr(job, part)) for job in self.jobs)) for part in parts}

    def find(self, stage: str, wildcards: Mapping[str, str]) -> Job:
        """The job that a rule's wildcards name."""
        return Job(wildcards["env"], stage, wildcards["name"], int(wildcards["seed"]))

    def dependencies(self, job: Job) -> dict[str, Job | External]:
        """The makers of the checkpoints that a job reads, by the key that names each checkpoint."""
        cell = self._cells[job]
        if cell.expert is None or job.stage == "ppo":
            return {}
        expert = self._external(cell.expert) or Job(job.env, "ppo", cell.expert.name, job.seed)
        planner = cell.planner
        if STAGES[job.stage].plays or job.stage == "ablations":
            played = expert
            if planner is not None:
                played = self._external(planner) or self._trained(job, planner.method, planner.name)
            asks = job.stage in ("sweep", "imitation") or (job.stage == "film" and planner is not None)
            compared = {"ppo_checkpoint_path": expert} if asks else {}
            return {"checkpoint_path": played, **compared}
        found: dict[str, Job | External] = {"ppo_checkpoint_path": expert}
        if planner is not None and planner.warm_start is not None:
            found["offline_checkpoint_path"] = self._trained(job, "offline", planner.warm_start)
        return found

    def _external(self, entry: ExpertEntry | PlannerEntry | None) -> External | None:
        """The existing checkpoint of an entry; None if the pipeline trains it."""
        return self.externals[entry] if entry is not None and entry.checkpoint is not None else None

    def _trained(self, job: Job, method: str | None, planner: str) -> Job:
        """The training of a planner by the expert of a job, with the job's seed; `cells` has checked it."""
        expert = self._cells[job].expert
        return next(
            training
            for training, cell in self._cells.items()
            if (training.env, training.stage, training.seed) == (job.env, method, job.seed)
            and (cell.expert, cell.planner and cell.planner.name) == (expert, planner)
        )

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
        if cell.planner is not None and job.stage != "ablations":
            grid = Layer(f"{self._keys}.planners: {cell.planner.name}: grid", cell.planner.overrides)
            layers.append(grid.checked(OVERRIDABLE))
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
        """Defaults, the scale's preset and, for a planner and its evaluation, the planner's own preset.

        Raises:
            ConfigError: a preset is for another game than the job's.
        """
        scale, own = self.scale.preset, cell.planner and cell.planner.preset
        layers = base_layers(cell.preset or own or scale)
        if own and STAGES[job.stage].plays:
            layers.insert(1, base_layers(scale)[-1])
        external = self._external(cell.planner)
        if external is not None and external.sampling is not None:
            layers.insert(1 if cell.preset else 2, external.sampling)
        for layer in layers[1:]:
            game = layer.values.get("env_name", job.env)
            if game != job.env:
                raise ConfigError(f"{layer.origin}: env_name = {game}: but the job plays {job.env}")
        return layers

    def _find_origin(self, product: Job | Figure) -> Origin:
        inputs = {
            key: found.digest if isinstance(found, External) else self.digest(found)
            for key, found in self.inputs_of(product).items()
        }
        if isinstance(product, Job):
            return stage_origin(product.stage, self.configs[product], inputs)
        return figure_origin(product.module, inputs)

    def origin_of(self, product: Job | Figure) -> Origin:
        """All that determines a result: its keys, its code and its inputs."""
        return self._origins[product]

    def inputs_of(self, product: Job | Figure) -> Mapping[str, Job | External]:
        """The makers of a result's inputs, by the names of the inputs in its origin."""
        if isinstance(product, Job):
            return self.dependencies(product)
        return {job.folder: job for job in product.jobs}

    def digest(self, product: Job | Figure) -> str:
        """The digest of a result's origin."""
        return self._origins[product].digest

    @property
    def origins(self) -> dict[str, str]:
        """All origins as JSON, as they are passed to jobs, by digest."""
        return {origin.digest: origin.to_json() for origin in self._origins.values()}

    def is_settled(self, maker: Job | Figure | External) -> bool:
        """Whether a result exists and is current, according to its record."""
        if isinstance(maker, External):
            return True
        return recorded_digest(Path(maker.record)) == self.digest(maker)

    def unseen(self) -> list[str]:
        """Records of stale results that Snakemake considers current.

        Snakemake compares parameters with those stored in its own folder, `.snakemake`, and so cannot judge
        results that were moved here without that folder.
        """
        return [
            product.record
            for product in self.products
            if recorded_digest(Path(product.record)) not in (None, self.digest(product))
            and not _has_noted("metadata", product.record)
        ]

    def keep_finished(self) -> None:
        """Keep complete results that Snakemake is about to remove; the jobs that it starts restore them.

        Snakemake considers a job's outputs incomplete if it was killed before the job ended.

        Raises:
            OSError: they cannot be written.
        """
        for job in self.jobs:
            state = STATE / self.digest(job)
            forget_results(state)
            outputs = map(Path, STAGES[job.stage].paths(job.folder).values())
            noted = _has_noted("incomplete", job.record)
            if noted and self.is_settled(job) and all(output.exists() for output in outputs):
                keep_results(state, Path(job.folder))


def _has_noted(what: str, output: str) -> bool:
    """Whether Snakemake has a note on an output, in a file named after the output in base64."""
    return (SNAKEMAKE / what / urlsafe_b64encode(output.encode()).decode()).exists()
