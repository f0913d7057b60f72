"""What a call asks for: the configuration of a stage, its digest and its folder."""

import argparse
from pathlib import Path
from typing import Any

from remdm.base.errors import UserError, printable
from remdm.base.files import read_json
from remdm.base.log import configure_logging
from remdm.base.reader import parse_value
from remdm.config.layers import Layer, base_layers, build, overridden, runtime_model, without_effect
from remdm.config.policy import PlayingConfig
from remdm.config.runtime import RuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES
from remdm.training.tracking import fetch, is_reference
from remdm.workflow.digest import Origin, content_digest, stage_origin
from remdm.workflow.plan import Plan


def configured(arguments: argparse.Namespace) -> tuple[StageConfig, RuntimeConfig, list[str]]:
    """The configuration of a stage, its inputs on this machine, and what there is to say about it."""
    mode, model = arguments.mode, STAGES[arguments.mode].model
    keys = [*model.owners(), *runtime_model(model).owners()]
    given = {key: parse_value(text) for key in keys if (text := getattr(arguments, key)) is not None}
    preset = arguments.config or ("smoke" if mode == "smoke" else None)
    flags = Layer("command line", given)
    layers = [*base_layers(preset), flags]
    config, runtime = build(model, layers), build(runtime_model(model), layers)
    fetched = {
        key: fetched_artifact(path, runtime.wandb_download_dir)
        for key, path in config.inputs().items()
        if path is not None and is_reference(path)
    }
    layers.append(Layer("W&B", fetched))
    notes = overridden(model, layers)
    if issubclass(model, PlayingConfig):
        path = fetched.get("checkpoint_path") or config.inputs().get("checkpoint_path")
        notes += _take_from_checkpoint(layers, path)
    config = build(model, layers)
    return config, runtime, notes + without_effect(config, flags)


def _take_from_checkpoint(layers: list[Layer], path: str | None) -> list[str]:
    """Lay what a checkpoint says of itself over the defaults; returns what the other layers contradict."""
    if path is None or not Path(path).is_dir():
        return []  # the stage will say so
    record = Path(path) / "metadata.json"
    if not record.exists():
        layers.insert(1, Layer(path, _told_by_arrays(path)))
        return []
    try:
        metadata = read_json(record)
        policy = {"planner": "planner", "expert": "expert"}[metadata["kind"]]
        network = dict(metadata["network"])
        own = {"env_name": metadata["env_name"], "policy": policy}
    except (OSError, ValueError, KeyError, TypeError):
        return []  # whoever opens the checkpoint will say what is wrong with it
    notes = [
        printable(f"{layer.origin}: {key} = {value}: ignored; the checkpoint has {network[key]}")
        for layer in layers[1:]
        for key, value in layer.values.items()
        if key in network and network[key] != value
    ]
    layers.insert(1, Layer(str(record), own))
    return notes


def _told_by_arrays(path: str) -> dict[str, Any]:
    """The keys that a public checkpoint, which has no metadata, decides."""
    from remdm.loading.checkpoint import read_public

    try:
        baseline = read_public(Path(path)).baseline
    except UserError:
        return {}  # whoever opens it will say what is wrong with it
    return {"policy": "expert"} | ({"env_name": baseline.env_name} if baseline.env_name else {})


def fetched_artifact(reference: str, folder: str | None) -> str:
    """The folder that a W&B artifact is downloaded to; where it is already, nothing is."""
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
