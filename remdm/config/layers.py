"""From files and flags to a validated configuration: defaults, one preset, overrides."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from remdm.base.errors import ConfigError, near, shown
from remdm.base.reader import read_mapping
from remdm.config.base import Section
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.config.scaling import SCALED, resolve_scaled_hyperparams
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES

MODELS: tuple[type[Section], ...] = (
    *(stage.model for stage in STAGES.values()),
    TrainingRuntimeConfig,
)
ALL_KEYS = frozenset(key for model in MODELS for key in model.owners())
MODE_PRESETS = {"smoke": "smoke", "ablations": "ablations_default"}  # of modes that always have one

M = TypeVar("M", bound=Section)


@dataclass(frozen=True)
class Layer:
    """Some keys and their origin, which error messages name."""

    origin: str
    values: Mapping[str, Any]

    def checked(self, allowed: Iterable[str]) -> "Layer":
        """The layer itself, after checking that all its keys are allowed.

        Raises:
            ConfigError: another key; the message lists similar ones that are allowed.
        """
        allowed = frozenset(allowed)
        for key in self.values:
            if key not in allowed:
                problem = "has no effect here" if key in ALL_KEYS else "unknown key"
                raise ConfigError(f"{self.origin}: {key}: {problem}{near(key, allowed)}")
        return self


def configs_folder() -> Path:
    """The folder of `defaults.yaml` and the presets: next to the package, or inside an installed one.

    Raises:
        ConfigError: there is no such folder.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "configs", package / "configs"):
        if (folder / "defaults.yaml").is_file():
            return folder
    raise ConfigError(f"{package.parent / 'configs' / 'defaults.yaml'}: missing")


def preset_path(name: str) -> Path:
    """The file of a preset, given its name or a path to any YAML file.

    Raises:
        ConfigError: no such file; the message lists presets of similar names.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: no such file")
        return path
    folder = configs_folder()
    path = folder / f"{name}.yaml"
    if name == "defaults" or not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml") if p.stem != "defaults")
        raise ConfigError(f"preset {name!r}: no such file in {folder.name}/{near(name, known)}")
    return path


def file_layer(path: Path) -> Layer:
    """The keys of a configuration file, which may be in capitals.

    Raises:
        ConfigError: the file cannot be read, or contains an unknown key, or one twice.
    """
    values: dict[str, Any] = {}
    for key, value in read_mapping(path).items():
        ours = key.lower() if key.isupper() else key
        if ours in values:
            raise ConfigError(f"{path}: {ours}: given twice, once in capitals; drop one")
        values[ours] = value
    return Layer(str(path), values).checked(ALL_KEYS)


def base_layers(preset: str | None) -> list[Layer]:
    """Defaults, then the preset if one is named."""
    layers = [file_layer(configs_folder() / "defaults.yaml")]
    if preset is not None:
        layers.append(file_layer(preset_path(preset)))
    return layers


def build(model: type[M], layers: Iterable[Layer]) -> M:
    """Merge layers into a validated model; later ones take precedence, keys of other models are ignored.

    Hyperparameters that can be given in two ways are resolved to the effective value.

    Raises:
        ConfigError: a value is missing, of the wrong type, out of range or contradicts another.
    """
    keys = model.owners()
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}  # ordered by the layer that set the key last
    for layer in layers:
        for key, value in layer.values.items():
            if key in keys:
                merged[key] = value
                origins.pop(key, None)
                origins[key] = layer.origin
    try:
        config = model(**merged)
    except ValidationError as error:
        raise ConfigError(_one_line(error, model, origins)) from None
    if isinstance(config, PlannerTrainingConfig):
        return resolve_scaled_hyperparams(config)
    return config


def overridden(model: type[Section], layers: Sequence[Layer]) -> list[str]:
    """A line for every legacy key that a preset or a flag sets although its primary key is set too.

    Args:
        layers: the first contains the defaults, which are not reported.
    """

    def counts(key: str) -> Layer:
        """The layer whose value of a key takes effect."""
        return next(layer for layer in reversed(layers) if key in layer.values)

    lines = []
    for pair in SCALED:
        if pair.primary not in model.owners():
            continue
        primary, legacy = counts(pair.primary), counts(pair.legacy)
        value, ignored = primary.values[pair.primary], legacy.values[pair.legacy]
        if value is not None and ignored is not None and legacy is not layers[0]:
            lines.append(
                f"{legacy.origin}: {pair.legacy} = {ignored} has no effect: "
                f"{pair.primary} = {value} ({primary.origin}) counts"
            )
    return lines


def without_effect(config: StageConfig, given: Layer) -> list[str]:
    """A line for every key of a layer that changes nothing, given the other keys.

    Args:
        config: the configuration built with that layer.
        given: keys set only for this run, because presets may contain keys of other choices.
    """
    return [
        f"{given.origin}: {key} = {value} has no effect with the other keys given"
        for key, value in given.values.items()
        if key in config.unused()
    ]


def _one_line(error: ValidationError, model: type[Section], origins: Mapping[str, str]) -> str:
    """The first problem of a validation, with the key, its value and its origin."""
    first = error.errors()[0]
    keys = model.owners()
    # For a contradiction within a section, `loc` is the section's.
    key = next((str(name) for name in first["loc"] if name in keys or first["type"] == "extra_forbidden"), "")
    if not key:  # a contradiction between keys, whose message names them
        message = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else first["msg"]
        named = set(re.findall(r"\w+", message))
        # Name the origin of the key that was set last.
        last = [origin for key, origin in origins.items() if key in named][-1:]
        return ": ".join([*last, message])
    if first["type"] == "missing":
        return f"{key}: has no value; it belongs in configs/defaults.yaml"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}{near(key, keys)}"
    wanted = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    description = keys[key].model_fields[key].description
    return f"{origins.get(key, 'given')}: {key} = {shown(first['input'])}: {wanted} ({description})"
