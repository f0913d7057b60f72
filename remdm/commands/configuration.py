"""What a call asks for: the configuration of a stage, its digest and its folder."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remdm.base.checkpoint_folder import METADATA, is_public, read_metadata
from remdm.base.errors import UserError, printable
from remdm.base.log import configure_logging
from remdm.base.reader import parse_value
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import (
    MODE_PRESETS,
    Layer,
    base_layers,
    build,
    overridden,
    runtime_model,
    without_effect,
)
from remdm.config.references import is_reference
from remdm.config.runtime import RuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES
from remdm.training.fetching import fetch
from remdm.workflow.digest import Origin, content_digest, stage_origin
from remdm.workflow.plan import Plan

START = "offline_checkpoint_path"  # the planner that DAgger starts from


@dataclass(frozen=True)
class Call:
    """What is asked of a stage, on the command line or from Python.

    Attributes:
        given: keys that lie over the preset's.
        output: where the results go; null is `default_folder`.
    """

    mode: str
    given: Layer
    preset: str | None = None
    output: Path | None = None

    def folder(self, config: StageConfig) -> Path:
        """Where the results go."""
        return self.output or default_folder(self.mode, config, self.preset)


def keys_of(mode: str) -> list[str]:
    """The keys that a mode has."""
    model = STAGES[mode].model
    return [*model.owners(), *runtime_model(model).owners()]


def call_of(arguments: argparse.Namespace) -> Call:
    """What the command line asks for; flags are read as the values of files are."""
    texts = {key: getattr(arguments, key) for key in keys_of(arguments.mode)}
    given = {key: parse_value(text) for key, text in texts.items() if text is not None}
    return Call(arguments.mode, Layer("command line", given), arguments.config, arguments.output)


def configured(call: Call) -> tuple[StageConfig, RuntimeConfig, list[str]]:
    """The configuration of a stage, its inputs on this machine, and what there is to say about it."""
    model, flags = STAGES[call.mode].model, call.given
    layers = [*base_layers(call.preset or MODE_PRESETS.get(call.mode)), flags]
    runtime = build(runtime_model(model), layers)
    notes = overridden(model, layers)

    def path_of(key: str) -> Any:
        return next((layer.values[key] for layer in reversed(layers) if key in layer.values), None)

    def fetch_all(paths: Mapping[str, Any]) -> None:
        references = {key: x for key, x in paths.items() if isinstance(x, str) and is_reference(x)}
        folder = runtime.wandb_download_dir
        layers.append(Layer("fetched", {key: fetched_checkpoint(x, folder) for key, x in references.items()}))

    if START in model.owners():  # whose network the other keys must fit
        fetch_all({START: path_of(START)})
        notes += _take_from_checkpoint(model, layers, path_of(START))
    inputs = build(model, layers).inputs()
    fetch_all(inputs)
    if "checkpoint_path" in inputs:
        notes += _take_from_checkpoint(model, layers, path_of("checkpoint_path"))
    config = build(model, layers)
    return config, runtime, notes + without_effect(config, flags)


def _take_from_checkpoint(model: type[StageConfig], layers: list[Layer], path: Any) -> list[str]:
    """Lay what a checkpoint says of itself over the defaults; returns what the other layers contradict.

    Where it plays or is trained further, the network is its own, except what may change in training.
    """
    if not isinstance(path, str) or not Path(path).is_dir():
        return []  # whoever checks or opens it will say so
    told = _told_by_arrays(path) if is_public(Path(path)) else _told_by_metadata(Path(path))
    if told is None:
        return []  # whoever opens the checkpoint will say what is wrong with it
    *own, network = told
    free = DenoiserConfig.FREE & model.owners().keys()
    decided = {key: value for key, value in network.values.items() if key not in free}
    notes = [
        printable(f"{layer.origin}: {key} = {value}: ignored; the checkpoint has {decided[key]}")
        for layer in layers[1:]
        for key, value in layer.values.items()
        if key in decided and decided[key] != value
    ]
    layers[1:1] = [*own, network]
    layers.append(Layer(network.origin, decided))
    return notes


def _told_by_metadata(path: Path) -> list[Layer] | None:
    """The keys that the metadata of a checkpoint of ours says, those of its network last."""
    try:
        metadata = read_metadata(path)
        policy = {"planner": "planner", "expert": "expert"}[metadata["kind"]]
        own = {"env_name": metadata["env_name"], "policy": policy}
        return [Layer(str(path / METADATA), values) for values in (own, metadata["network"])]
    except (UserError, KeyError):
        return None


def _told_by_arrays(path: str) -> list[Layer] | None:
    """The keys that a public checkpoint, which has no metadata, decides, those of its network last."""
    from remdm.loading.public import public_network

    try:
        model = public_network(Path(path))
    except UserError:
        return None
    return [*model.told(path), Layer(path, model.network.model_dump())]


def fetched_checkpoint(reference: str, folder: str | None) -> str:
    """The folder that a checkpoint elsewhere is downloaded to; where it is already, nothing is.

    Args:
        folder: for artifacts of W&B, `./artifacts` if None.
    """
    configure_logging()
    return str(fetch(reference, Path(folder or "artifacts")))


def origin_of(mode: str, config: StageConfig) -> Origin:
    """All that decides the result of a call."""
    inputs = {key: content_digest(key, path) for key, path in config.inputs().items()}
    return stage_origin(mode, config, inputs)


def default_folder(mode: str, config: StageConfig, preset: str | None) -> Path:
    """The pipeline's layout in a folder of its own, `runs/<env>/<stage>/<name>/s<seed>`."""
    keys = config.flat()
    key = STAGES[mode].named_by
    name = keys[key] if key else Path(preset).stem if preset else "defaults"
    return Path("runs") / config.env.env_name / mode / name / f"s{config.seed}"


def plan_of(scale: str | None) -> Plan:
    """The jobs of `workflow_config.yaml`, of a scale or of its own."""
    return Plan.load(Path("workflow_config.yaml"), {} if scale is None else {"scale": scale})
