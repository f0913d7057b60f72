"""Whom an evaluation lets play."""

import jax

from remdm.config.base import UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.inference import InferenceConfig
from remdm.envs.craftax import Game
from remdm.envs.policy import Policy, random_policy
from remdm.planners.denoising import init_params, make_denoiser, make_sampler
from remdm.planners.policy import planner_policy
from remdm.stages.checkpoint import open_checkpoint, rebuild
from remdm.stages.expert import load_expert
from remdm.training import checkpoint


def load_policy(config: InferenceConfig, game: Game) -> Policy:
    """The policy a configuration names; the expert draws its actions as it did in training.

    Raises:
        UserError: `checkpoint_path` holds no such policy for this game.
    """
    if config.policy == "random":
        return random_policy(game.num_actions)
    if config.policy == "expert":
        return load_expert("checkpoint_path", config.checkpoint_path, config.env_name, game, temperature=1.0)
    return load_planner(config, game)


def load_planner(config: InferenceConfig, game: Game) -> Policy:
    """The planner in a checkpoint, denoising and replanning as `config` says.

    Raises:
        UserError: `checkpoint_path` holds no planner for this game, or its plans are too short.
    """
    folder, metadata = open_checkpoint("checkpoint_path", config.checkpoint_path, "planner", config.env_name)
    network = rebuild(DenoiserConfig, folder, metadata)
    if config.replan_every > network.plan_horizon:
        raise UserError(
            f"replan_every = {config.replan_every}: "
            f"at most the planner's plan_horizon = {network.plan_horizon}"
        )
    denoiser = make_denoiser(network, game.num_actions)
    shapes = jax.eval_shape(lambda key: init_params(denoiser, key, game.obs_dim), jax.random.PRNGKey(0))
    sampler = make_sampler(config, network.diffusion_schedule, config.diffusion_steps_eval)
    return planner_policy(
        denoiser,
        checkpoint.restore(folder, "params", shapes),
        sampler,
        config.replan_every,
        config.inpaint_history,
    )
