"""What can be measured, known without JAX."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from remdm.base.errors import ConfigError, near
from remdm.config.base import Section
from remdm.config.collect import CollectConfig
from remdm.config.denoiser import DenoiserConfig
from remdm.config.inference import InferenceConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.config.stage import StageConfig

PRESET = "bench"


class Entry(NamedTuple):
    """A case: what its work is counted in, and the models of its keys."""

    unit: str
    models: tuple[type[Section], ...]
    summary: str
    compiles: bool = True  # whether it runs a program of XLA

    def keys(self) -> set[str]:
        """The keys that it can be given, none of which is a path."""
        paths = [model.path_keys() for model in self.models if issubclass(model, StageConfig)]
        return {key for model in self.models for key in model.owners()}.difference(*paths)


CASES: dict[str, Entry] = {
    "env_step": Entry("frames", (OfflineConfig,), "random play, finished episodes replaced from a pool"),
    "collect": Entry("frames", (CollectConfig, ExpertConfig), "an expert that plays, transitions kept"),
    "ppo": Entry("frames", (PPOConfig,), "one update of the expert"),
    "offline": Entry("frames", (OfflineConfig, ExpertConfig), "one update of behaviour cloning"),
    "online": Entry("frames", (OnlineConfig, ExpertConfig), "one update of DAgger"),
    "gradient": Entry("windows", (OfflineConfig,), "one gradient step of a planner, without its rollout"),
    "sampling": Entry("plans", (OnlineConfig,), "the reverse process alone, as in DAgger's rollouts"),
    "inference": Entry("frames", (InferenceConfig, DenoiserConfig), "a planner that plays"),
    "checkpoint": Entry("MB", (OfflineConfig, ExpertConfig), "writing the state of behaviour cloning", False),
    "dag": Entry("jobs", (), "snakemake -n on the paper's scale", False),
}


class Growth(NamedTuple):
    """A key that is varied in powers of two, the cases that are measured, and the keys that go with it."""

    cases: tuple[str, ...]
    factors: tuple[float, ...]
    along: tuple[str, ...] = ()


GROWTH = {
    "num_envs": Growth(("env_step", "offline"), (0.25, 0.5, 1, 2)),
    "plan_horizon": Growth(("sampling", "gradient"), (0.25, 0.5, 1, 2)),
    "d_model": Growth(("sampling", "gradient"), (0.25, 0.5, 1, 2), ("d_ff",)),
    "diffusion_steps": Growth(("sampling",), (0.5, 1, 2, 4)),
}


class Request(NamedTuple):
    """One measurement, as it is asked of a process of its own."""

    case: str
    preset: str
    keys: dict[str, Any]
    repeats: int
    varied: str | None = None
    trace: str | None = None

    def layers(self) -> list[Layer]:
        """Where the keys of the case come from; nothing of it is drawn, cached or asked for."""
        fixed = Layer("benchmark", {"seed": 0, "compilation_cache_dir": None})
        return [*base_layers(self.preset), fixed, Layer("command line", self.keys)]

    def settings(self) -> dict[str, Any]:
        """The keys that decide what is measured.

        Raises:
            ConfigError: they cannot be run.
        """
        found: dict[str, Any] = {}
        for model in CASES[self.case].models:
            section = build(model, self.layers())
            hidden = {"seed", "num_repeats", *getattr(model, "path_keys", set)()}
            found |= {key: value for key, value in section.flat().items() if key not in hidden}
        return found


def checked(cases: Sequence[str]) -> list[str]:
    """The cases asked for, all if none are.

    Raises:
        ConfigError: one is unknown; the message names those that are near.
    """
    for case in cases:
        if case not in CASES:
            raise ConfigError(f"no case is called {case}{near(case, CASES)}; there are {', '.join(CASES)}")
    return list(dict.fromkeys(cases)) or list(CASES)


def growing(request: Request) -> Iterator[Request]:
    """What `request` asks for, for every value of every key that is varied."""
    for key, growth in GROWTH.items():
        for case in growth.cases:
            usual = request._replace(case=case).settings()
            for factor in growth.factors:
                scaled = {name: max(1, round(factor * usual[name])) for name in (key, *growth.along)}
                yield request._replace(case=case, keys=request.keys | scaled, varied=key)
