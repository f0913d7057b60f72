"""Load planners from checkpoints, ours and public ones."""

from pathlib import Path
from typing import Any

from remdm.base.checkpoint_folder import is_public, open_checkpoint
from remdm.base.errors import UserError
from remdm.config.denoiser import NO_PAST, DenoiserConfig
from remdm.envs.craftax import Game
from remdm.loading.checkpoint import open_public, rebuild
from remdm.loading.public import recognise
from remdm.models.denoiser import Denoiser
from remdm.planners.denoising import make_denoiser, param_shapes
from remdm.planners.public import PublicPlanner
from remdm.training import checkpoint

# Values of keys that did not exist when older checkpoints were trained.
EARLIER = {"time_scale": 1000.0, **NO_PAST}


def read_network(key: str, path: str | None, env_name: str) -> DenoiserConfig | None:
    """The keys of the network of a planner of ours; None of a public one, which never sees past steps.

    Raises:
        UserError: `path`, the value of `key`, is no checkpoint of a planner in this game.
    """
    if path is not None and is_public(Path(path)):
        return None
    return rebuild(DenoiserConfig, *open_checkpoint(key, path, "planner", env_name), EARLIER)


def load_denoiser(
    key: str, path: str | None, network: DenoiserConfig | None, game: Game
) -> tuple[DenoiserConfig, Denoiser, Any]:
    """The keys, the network and the parameters of the planner in a checkpoint.

    Args:
        network: what `read_network` returned for the checkpoint; None of a public one.
        game: whose observations are those that the network asks for (`with_past`).

    Raises:
        UserError: `path`, the value of `key`, contains no planner for this game, or arrays of other shapes.
    """
    assert path is not None  # `read_network` refuses it
    if network is None:
        public, params = open_public(key, Path(path), PublicPlanner, game, recognise)
        network = public.network
    else:
        shapes = param_shapes(network, game.obs_dim, game.num_actions)
        params = checkpoint.restore(Path(path), "params", shapes)
    return network, make_denoiser(network, game.num_actions), params


def load_start(key: str, path: str, asked: DenoiserConfig, env_name: str, game: Game) -> Any:
    """The parameters of a planner that is trained further, for a network with the keys asked for.

    Raises:
        UserError: it contains no planner for this game, or one of another network; the message names the key.
    """
    network, _, params = load_denoiser(key, path, read_network(key, path, env_name), game)
    for name, value in network.model_dump().items():
        if name not in network.FREE and value != getattr(asked, name):
            asked_for = f"{name} = {getattr(asked, name)} is asked for"
            raise UserError(f"{key} = {path}: its planner has {name} = {value}, but {asked_for}")
    return params
