"""Our keys in the record of a public planner, which has them in upper case."""

from pathlib import Path
from typing import Any

from remdm.base.checkpoint_folder import RECORD, find_record
from remdm.base.errors import UserError
from remdm.base.files import read_json
from remdm.base.reader import parse_value
from remdm.config.denoiser import NO_PAST, DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.sampler import SamplerConfig

SAMPLING = frozenset({*SamplerConfig.owners(), "diffusion_steps_eval"})
TAKEN = {"env_name", *DenoiserConfig.owners(), *SAMPLING}
# What no array's shape shows, so that there is no planner without it.
UNSEEN = ("plan_horizon", "diffusion_schedule", "dropout_rate")
# What the public network has in place of keys: it embeds times of [0, 1] as they are.
FIXED = {"time_scale": 1.0, "compute_dtype": "float32", **NO_PAST}
LONGEST = 100  # characters of a number or a name; to parse a text takes a thousand times its size


def read_record(folder: Path) -> Layer:
    """What the record of a public planner says of its game, its network and its sampler, by our keys.

    Args:
        folder: of its arrays, or the folder above.

    Raises:
        UserError: there is no record, it cannot be read, or what no array shows is missing or impossible;
            the message names the entries.
    """
    path = find_record(folder)
    needed = f"{', '.join(key.upper() for key in UNSEEN)} in its config_snapshot"
    if path is None:
        raise UserError(
            f"checkpoint {folder}: has no {RECORD} beside its steps, and no array shows {needed}; put there "
            f"what its training run left"
        )
    try:
        snapshot = read_json(path)["config_snapshot"]
        found = {key.lower(): value for key, value in snapshot.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: cannot be read as JSON with an object config_snapshot") from None
    lacking = [key.upper() for key in UNSEEN if key not in found]
    if lacking:
        raise UserError(f"{path}: lacks {', '.join(lacking)} in config_snapshot, which no array shows")
    keys = {key: _value(x) for key, x in found.items() if key in TAKEN}
    if keys.get("remask_strategy") == "conf":  # as public planners call what the paper has
        keys["remask_strategy"] = "conf_softmax"
    unseen = Layer(str(path), {key: keys[key] for key in UNSEEN})
    network = build(DenoiserConfig, [*base_layers(None), unseen])  # says what is wrong with them
    return Layer(str(path), keys | {key: getattr(network, key) for key in UNSEEN})


def _value(x: Any) -> Any:
    """PyYAML, by which these configurations were read, takes 1e-1 for a string."""
    return parse_value(x) if isinstance(x, str) and len(x) <= LONGEST else x


def sampling_keys(record: Layer) -> Layer:
    """Those of a record's keys that say how its planner denoises."""
    return Layer(record.origin, {key: x for key, x in record.values.items() if key in SAMPLING})
