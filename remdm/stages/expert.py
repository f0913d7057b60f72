"""Experts and their checkpoints."""

from typing import Any

import jax

from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.envs.craftax import Game
from remdm.envs.policy import Policy
from remdm.experts.network import ActorCriticRNN, init_params
from remdm.experts.policy import expert_policy
from remdm.stages.checkpoint import describe, open_checkpoint
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm


def describe_expert(config: PPOConfig, algorithm: Algorithm) -> dict[str, Any]:
    """What rebuilds an expert from its weights."""
    network = config.model_dump(include=set(ExpertConfig.model_fields))
    return describe("expert", config.env_name, network, algorithm)


def load_expert(key: str, path: str | None, env_name: str, game: Game, temperature: float) -> Policy:
    """The expert in a checkpoint, which draws its actions at a temperature.

    Raises:
        UserError: `path`, the value of `key`, is no checkpoint of an expert in this game.
    """
    folder, metadata = open_checkpoint(key, path, "expert", env_name)
    network = ActorCriticRNN(game.num_actions, ExpertConfig(**metadata["network"]).layer_size)
    shapes = jax.eval_shape(lambda key: init_params(network, key, game.obs_dim), jax.random.PRNGKey(0))
    return expert_policy(network, checkpoint.restore(folder, shapes), temperature)
