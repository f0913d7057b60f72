"""Planners and their checkpoints."""

from typing import Any

import jax

from remdm.config.denoiser import DenoiserConfig
from remdm.envs.craftax import Game
from remdm.loading.checkpoint import open_checkpoint, rebuild
from remdm.models.denoiser import Denoiser
from remdm.planners.denoising import init_params, make_denoiser
from remdm.training import checkpoint


def load_denoiser(path: str | None, env_name: str, game: Game) -> tuple[DenoiserConfig, Denoiser, Any]:
    """The keys, the network and the parameters of the planner in the checkpoint `checkpoint_path` names.

    Raises:
        UserError: it holds no planner for this game, or arrays of other shapes.
    """
    folder, metadata = open_checkpoint("checkpoint_path", path, "planner", env_name)
    network = rebuild(DenoiserConfig, folder, metadata)
    denoiser = make_denoiser(network, game.num_actions)
    shapes = jax.eval_shape(lambda key: init_params(denoiser, key, game.obs_dim), jax.random.PRNGKey(0))
    return network, denoiser, checkpoint.restore(folder, "params", shapes)
