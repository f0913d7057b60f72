"""Experts and their checkpoints."""

import jax

from remdm.config.ppo import ExpertConfig
from remdm.envs.craftax import Game
from remdm.envs.policy import Policy
from remdm.experts.network import ActorCriticRNN, init_params
from remdm.experts.policy import expert_policy
from remdm.stages.checkpoint import open_checkpoint, rebuild
from remdm.training import checkpoint


def load_expert(key: str, path: str | None, env_name: str, game: Game, temperature: float) -> Policy:
    """The expert in a checkpoint, which draws its actions at a temperature.

    Raises:
        UserError: `path`, the value of `key`, is no checkpoint of an expert in this game.
    """
    folder, metadata = open_checkpoint(key, path, "expert", env_name)
    network = ActorCriticRNN(game.num_actions, rebuild(ExpertConfig, folder, metadata).layer_size)
    shapes = jax.eval_shape(lambda key: init_params(network, key, game.obs_dim), jax.random.PRNGKey(0))
    return expert_policy(network, checkpoint.restore(folder, "params", shapes), temperature)
