"""Locate checkpoints of Craftax_Baselines and infer the architecture from array shapes.

A training run leaves `policies/<frames>/default/`, a flax `TrainState` that Orbax wrote. Nothing in
it says what it is, so that is read from the shapes of its arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from remdm.base.errors import UserError
from remdm.config.base import WIDEST
from remdm.config.ppo import ExpertConfig
from remdm.experts.network import init_params, make_network
from remdm.training.checkpoint import METADATA, TREE, named

# Width of an observation, and number of actions.
GAMES = {"Craftax-Classic-Symbolic-v1": (1345, 17), "Craftax-Symbolic-v1": (8268, 43)}
SHOWN_NAMES = 3


@dataclass(frozen=True)
class Baseline:
    """An expert of the public baselines."""

    network: ExpertConfig
    obs_dim: int
    num_actions: int

    @property
    def env_name(self) -> str | None:
        """The game it plays; None if that is none of ours."""
        widths = self.obs_dim, self.num_actions
        return next((name for name, game in GAMES.items() if game == widths), None)

    def __str__(self) -> str:
        network, plays = self.network, told_game(self.obs_dim, self.num_actions)
        return f"a {network.ppo_model_type} of layer_size {network.layer_size} for {plays}"

    def shapes(self) -> Any:
        """The parameters of our network of its kind, without their values."""
        network = make_network(self.network, self.num_actions)
        key = jax.ShapeDtypeStruct((2,), jnp.uint32)
        return jax.eval_shape(lambda key: init_params(network, key, self.obs_dim), key)


def told_game(obs_dim: int, num_actions: int) -> str:
    """A game in words."""
    names = [name for name, widths in GAMES.items() if widths == (obs_dim, num_actions)]
    name = f", which is {names[0]}" if names else ", which is no game of ours"
    return f"observations of {obs_dim} and {num_actions} actions{name}"


def find_arrays(path: Path) -> Path:
    """The folder of arrays that `path` leads to: that of the most frames, where there are several.

    Args:
        path: a run's folder with `policies/` in it, `policies/`, a step below it, or its `default/`.

    Raises:
        UserError: it leads to none, or to one of ours; the message says what is there.
    """
    if not path.is_dir():
        raise UserError(
            f"checkpoint {path}: {'is a file; name a folder' if path.exists() else 'no such folder'}"
        )
    steps = path / "policies" if (path / "policies").is_dir() else path
    names = sorted(entry.name for entry in steps.iterdir())
    frames = [name for name in names if name.isdecimal() and (steps / name).is_dir()]
    step = steps / max(frames, key=int) if frames else path
    _refuse_ours(path, step)
    for folder in (step / "default", step):
        if (folder / TREE).is_file():
            return folder
    if frames or path.name.isdecimal():
        raise UserError(f"checkpoint {path}: step {step.name} is incomplete: it has no default/{TREE}")
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    raise UserError(
        f"checkpoint {path}: no checkpoint found (contains {shown or 'no files'}); name a folder with "
        f"metadata.json, or the policies/ of Craftax_Baselines"
    )


def _refuse_ours(path: Path, step: Path) -> None:
    """Refuse a checkpoint of ours, whose items and numbered snapshots look much like public ones."""
    paths = [step, path]
    if (path / TREE).is_file():  # an item, as `params/` is
        paths.append(path.absolute().parent)
    for place in paths:
        if (place / METADATA).is_file():
            raise UserError(
                f"checkpoint {path}: leads to {place}, which is a checkpoint of ours and no public one; name "
                f"the checkpoint/ of a finished run"
            )


def step_of(folder: Path) -> int | None:
    """The frames behind a folder that `find_arrays` found, by the names above it."""
    return next((int(name) for name in folder.absolute().parts[:-3:-1] if name.isdecimal()), None)


def as_ours(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays below `params` by the names that ours have: flax puts another `params` in front."""
    doubled = all(name.startswith("params/params/") for name in arrays)
    return {name.removeprefix("params/") if doubled else name: x for name, x in arrays.items()}


def recognise(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Baseline:
    """Who has parameters of such shapes, by the names that ours have.

    Raises:
        UserError: no expert of the public baselines; the message names the first array that differs.
    """
    first, last = (shapes.get(f"params/Dense_{layer}/kernel", ()) for layer in (0, 3))
    if len(first) != 2 or len(last) != 2 or not all(0 < x <= WIDEST for x in (*first, *last)):
        raise UserError(
            f"checkpoint {folder}: is no ppo, ppo_rnn or ppo_rnd of Craftax_Baselines, but has the arrays "
            f"{_shown(shapes)}"
        )
    model_type = "ppo_rnd" if "params/Dense_8/kernel" in shapes else "ppo"
    if any(name.startswith("params/ScannedRNN_0/") for name in shapes):
        model_type = "ppo_rnn"
    network = ExpertConfig.model_validate({"ppo_model_type": model_type, "layer_size": first[1]})
    baseline = Baseline(network, obs_dim=first[0], num_actions=last[1])
    wanted = {name: leaf.shape for name, leaf in named(baseline.shapes()).items()}
    for name in [*wanted, *shapes]:
        if wanted.get(name) != shapes.get(name):
            there, needed = (list(x[name]) if name in x else "absent" for x in (shapes, wanted))
            raise UserError(
                f"checkpoint {folder}: is not quite {baseline}: its array {name} is {there}, "
                f"but should be {needed}"
            )
    return baseline


def _shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    shown = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:SHOWN_NAMES])
    return shown + (f" and {len(shapes) - SHOWN_NAMES} more" if len(shapes) > SHOWN_NAMES else "")
