"""Reads our keys from the record of a public planner, which has them in upper case."""

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
# Keys that the shapes of arrays do not determine, so the record must contain them.
UNSEEN = ("plan_horizon", "diffusion_schedule", "dropout_rate")
# Values that are fixed in the public network: it embeds times in [0, 1] without a factor.
FIXED = {"time_scale": 1.0, "compute_dtype": "float32", **NO_PAST}
LONGEST = 100  # characters of a number or a name; parsing a text needs a thousand times its size


def read_record(folder: Path) -> Layer:
    """The game, the network and the sampler in the record of a public planner, by our keys.

    Args:
        folder: the folder of its arrays, or the parent.

    Raises:
        UserError: there is no record, it cannot be read, or a key of `UNSEEN` is missing or invalid; the
            message names the entries.
    """
    path = find_record(folder)
    needed = f"{', '.join(key.upper() for key in UNSEEN)} in its config_snapshot"
    if path is None:
        raise UserError(
            f"checkpoint {folder}: has no {RECORD} next to its steps, and no array shows {needed}; put there "
            f"the one that its training run left"
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
    if keys.get("remask_strategy") == "conf":  # the public name of the paper's strategy
        keys["remask_strategy"] = "conf_softmax"
    unseen = Layer(str(path), {key: keys[key] for key in UNSEEN})
    network = build(DenoiserConfig, [*base_layers(None), unseen])  # reports invalid values
    return Layer(str(path), keys | {key: getattr(network, key) for key in UNSEEN})


def _value(x: Any) -> Any:
    """A value, parsed if it is a string: PyYAML, which read these configurations, takes 1e-1 for a string."""
    return parse_value(x) if isinstance(x, str) and len(x) <= LONGEST else x


def sampling_keys(record: Layer) -> Layer:
    """The keys of a record that configure the sampler."""
    return Layer(record.origin, {key: x for key, x in record.values.items() if key in SAMPLING})
