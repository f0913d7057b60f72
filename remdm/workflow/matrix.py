"""The matrix of experiments: the stages that a scale's games, experts, planners and evaluations require."""

from collections.abc import Iterator
from typing import NamedTuple

from remdm.base.errors import ConfigError, near
from remdm.config.workflow import ExpertEntry, PlannerEntry, Scale

RANDOM = "random"


class Cell(NamedTuple):
    """A stage of an experiment in one game, the same for every seed.

    Attributes:
        name: the model, the preset or the policy; with the stage, unique in a game.
        expert: the expert that is trained, teaches or plays.
        planner: the planner that is trained, plays or is fine-tuned.
        evaluation: the name of a further evaluation; None for that of the preset.
        preset: that of an ablation's arm.
    """

    stage: str
    name: str
    expert: ExpertEntry | None = None
    planner: PlannerEntry | None = None
    evaluation: str | None = None
    preset: str | None = None

    @property
    def player(self) -> str:
        """The name of its planner in evaluations."""
        return f"{self.stage}-{self.name}" if self.stage else self.name

    @property
    def policy(self) -> str:
        """The kind of policy that plays, if the cell is an evaluation."""
        return "planner" if self.planner else "expert" if self.expert else RANDOM


def cells(scale: Scale, env: str, origin: str) -> list[Cell]:
    """All stages in one game, each after those it depends on.

    Planners of the first expert are named after their preset; names of other experts' planners also contain
    the expert, so that adding an expert does not move existing results.

    Args:
        origin: file and scale, for messages.

    Raises:
        ConfigError: a game without expert or planner, a warm start from no planner, or a name used twice.
    """
    experts = [expert for expert in scale.experts if expert.plays(env)]
    planners = [planner for planner in scale.planners if planner.plays(env)]
    if not (experts and planners):
        kind = "planners" if experts else "experts"
        raise ConfigError(f"{origin}: envs names {env}, but none of the {kind} is for it")
    _check_warm_starts(planners, origin)
    taught = []
    for expert in experts:
        by = "" if expert is experts[0] else f"_by_{expert.name}"
        taught += [Cell(entry.method, entry.name + by, expert, entry) for entry in planners if entry.method]
    # Existing planners have no training stage; studies compare them with the first expert.
    pupils = [*taught, *(Cell("", entry.name, experts[0], entry) for entry in planners if entry.checkpoint)]
    trained = [Cell("ppo", expert.name, expert) for expert in experts if expert.model]
    collected = [Cell("collect", expert.name, expert) for expert in experts]
    suites = [
        cell._replace(stage="ablations", name=arm, preset=entry.preset)
        for entry in scale.ablations
        for cell in pupils
        if entry.planner == cell.player
        for arm in entry.names
    ]
    played = list(_evaluations(scale, experts, pupils))
    plain = [cell for cell in played if cell.evaluation is None]
    asked = [stage for stage in ("sweep", "imitation") if getattr(scale, stage)]
    studied = [cell._replace(stage=stage) for stage in asked for cell in plain if cell.planner]
    films = [cell._replace(stage="film") for cell in plain]
    every = [*trained, *collected, *taught, *suites, *played, *studied, *films]
    for i, cell in enumerate(every):
        if any(cell[:2] == other[:2] for other in every[:i]):
            raise ConfigError(f"{origin}: {cell.stage} {cell.name}: named twice for {env}; leave one")
    return every


def _evaluations(scale: Scale, experts: list[ExpertEntry], pupils: list[Cell]) -> Iterator[Cell]:
    """The evaluation of every policy by the preset, then the further evaluations."""
    for evaluation in (None, *scale.evaluations):
        suffix = "" if evaluation is None else f"-{evaluation}"
        for expert in experts:
            yield Cell("inference", expert.name + suffix, expert, evaluation=evaluation)
        for cell in pupils:
            yield cell._replace(stage="inference", name=cell.player + suffix, evaluation=evaluation)
        yield Cell("inference", RANDOM + suffix, evaluation=evaluation)


def _check_warm_starts(planners: list[PlannerEntry], origin: str) -> None:
    offline = [planner.name for planner in planners if planner.method == "offline"]
    for planner in planners:
        if planner.warm_start is not None and planner.warm_start not in offline:
            raise ConfigError(
                f"{origin}: warm_start = {planner.warm_start}: not among the offline planners"
                f"{near(planner.warm_start, offline)}"
            )
