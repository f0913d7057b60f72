"""From a call to the configuration of its stage, its digest and its folder."""

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
from remdm.config.layers import MODE_PRESETS, Layer, base_layers, build, overridden, without_effect
from remdm.config.references import is_reference
from remdm.config.runtime import RuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES
from remdm.training.fetching import fetch
from remdm.workflow.digest import Origin, content_digest, stage_origin
from remdm.workflow.plan import Plan

START = "offline_checkpoint_path"  # key of the planner from which DAgger starts


@dataclass(frozen=True)
class Call:
    """A call of a stage, on the command line or from Python.

    Attributes:
        given: keys that override the preset's.
        output: the folder of the results; None is `default_folder`.
    """

    mode: str
    given: Layer
    preset: str | None = None
    output: Path | None = None

    def folder(self, config: StageConfig) -> Path:
        """The folder of the results."""
        return self.output or default_folder(self.mode, config, self.preset)


def call_of(arguments: argparse.Namespace) -> Call:
    """The call of a command line; the values of flags are parsed like those in files."""
    texts = {key: getattr(arguments, key) for key in STAGES[arguments.mode].keys}
    given = {key: parse_value(text) for key, text in texts.items() if text is not None}
    return Call(arguments.mode, Layer("command line", given), arguments.config, arguments.output)


def configured(call: Call) -> tuple[StageConfig, RuntimeConfig, list[str]]:
    """The configuration of a stage with its inputs on this machine, its runtime keys, and notes to log."""
    stage, flags = STAGES[call.mode], call.given
    model = stage.model
    layers = [*base_layers(call.preset or MODE_PRESETS.get(call.mode)), flags]
    runtime = build(stage.runtime, layers)
    notes = overridden(model, layers)

    def path_of(key: str) -> Any:
        return next((layer.values[key] for layer in reversed(layers) if key in layer.values), None)

    def fetch_all(paths: Mapping[str, Any]) -> None:
        references = {key: x for key, x in paths.items() if isinstance(x, str) and is_reference(x)}
        folder = runtime.wandb_download_dir
        layers.append(Layer("fetched", {key: fetched_checkpoint(x, folder) for key, x in references.items()}))

    if START in model.owners():  # the other keys must fit its network
        fetch_all({START: path_of(START)})
        notes += _take_from_checkpoint(model, layers, path_of(START))
    inputs = build(model, layers).inputs()
    fetch_all(inputs)
    if "checkpoint_path" in inputs:
        notes += _take_from_checkpoint(model, layers, path_of("checkpoint_path"))
    config = build(model, layers)
    return config, runtime, notes + without_effect(config, flags)


def _take_from_checkpoint(model: type[StageConfig], layers: list[Layer], path: Any) -> list[str]:
    """Insert the keys that a checkpoint fixes above the defaults; returns a line for each contradiction.

    The network is that of the checkpoint, except for the keys that may change in further training.
    """
    if not isinstance(path, str) or not Path(path).is_dir():
        return []  # reported where the folder is checked or opened
    try:
        *own, network = _checkpoint_layers(path)
    except (UserError, KeyError):
        return []  # reported where the checkpoint is opened
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


def _checkpoint_layers(path: str) -> list[Layer]:
    """The keys that a checkpoint fixes, those of its network last.

    A public checkpoint has no metadata: there, the shapes of the arrays decide.

    Raises:
        UserError: `path` contains no checkpoint, or it is damaged.
        KeyError: the metadata lack an entry, or `kind` is neither `planner` nor `expert`.
    """
    folder = Path(path)
    if is_public(folder):
        from remdm.loading.public import public_network  # imports JAX

        model = public_network(folder)
        return [*model.layers(path), Layer(path, model.network.model_dump())]
    metadata = read_metadata(folder)
    policy = {"planner": "planner", "expert": "expert"}[metadata["kind"]]
    own = {"env_name": metadata["env_name"], "policy": policy}
    return [Layer(str(folder / METADATA), values) for values in (own, metadata["network"])]


def fetched_checkpoint(reference: str, folder: str | None) -> str:
    """Download the checkpoint of a reference, unless it is on this machine; returns its folder.

    Args:
        folder: the destination of artifacts of W&B; None is `./artifacts`.
    """
    configure_logging()
    return str(fetch(reference, Path(folder or "artifacts")))


def origin_of(mode: str, config: StageConfig) -> Origin:
    """Everything that determines the result of a call."""
    inputs = {key: content_digest(key, path) for key, path in config.inputs().items()}
    return stage_origin(mode, config, inputs)


def default_folder(mode: str, config: StageConfig, preset: str | None) -> Path:
    """The folder of a call's results in `runs/`, in the pipeline's layout: `<env>/<stage>/<name>/s<seed>`."""
    keys = config.flat()
    key = STAGES[mode].named_by
    name = keys[key] if key else Path(preset).stem if preset else "defaults"
    return Path("runs") / config.env.env_name / mode / name / f"s{config.seed}"


def plan_of(scale: str | None) -> Plan:
    """The plan of `workflow_config.yaml` for a scale; None is the scale that the file names."""
    return Plan.load(Path("workflow_config.yaml"), {} if scale is None else {"scale": scale})
