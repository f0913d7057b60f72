"""Experts and their checkpoints, ours and public ones."""

import logging
from pathlib import Path

import jax

from remdm.base.errors import UserError
from remdm.config.ppo import ExpertConfig
from remdm.envs.craftax import Game
from remdm.experts.acting import expert_policy
from remdm.experts.baselines import told_game
from remdm.experts.network import init_params, make_network
from remdm.loading.checkpoint import is_public, open_checkpoint, read_public, rebuild
from remdm.play.policy import Policy
from remdm.training import checkpoint

logger = logging.getLogger("remdm")


def load_expert(key: str, path: str | None, env_name: str, game: Game, temperature: float) -> Policy:
    """The expert in a checkpoint, which draws its actions at a temperature.

    Raises:
        UserError: `path`, the value of `key`, is no checkpoint of an expert in this game.
    """
    if path is not None and is_public(Path(path)):
        return _load_public(key, Path(path), game, temperature)
    folder, metadata = open_checkpoint(key, path, "expert", env_name)
    network = make_network(rebuild(ExpertConfig, folder, metadata), game.num_actions)
    shapes = jax.eval_shape(lambda key: init_params(network, key, game.obs_dim), jax.random.PRNGKey(0))
    return expert_policy(network, checkpoint.restore(folder, "params", shapes), temperature)


def _load_public(key: str, path: Path, game: Game, temperature: float) -> Policy:
    try:
        expert = read_public(path)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    baseline = expert.baseline
    if (baseline.obs_dim, baseline.num_actions) != (game.obs_dim, game.num_actions):
        asked = told_game(game.obs_dim, game.num_actions)
        raise UserError(f"{key} = {path}: is {baseline}, but an expert is needed for {asked}")
    logger.info("expert: %s; from %s", baseline, expert.folder)
    return expert_policy(make_network(baseline.network, game.num_actions), expert.params(), temperature)
