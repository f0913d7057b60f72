"""Load the policy to evaluate or record: planner, expert or random."""

from typing import Any

from remdm.base.errors import UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.policy import PlayingConfig, PolicyConfig
from remdm.envs.craftax import Game
from remdm.loading.expert import load_expert
from remdm.loading.planner import load_denoiser, read_network
from remdm.models.denoiser import Denoiser
from remdm.planners.control import Planner, PlannerPolicy
from remdm.planners.denoising import make_sampler
from remdm.play.policy import Policy, random_policy


def played_network(config: PlayingConfig) -> DenoiserConfig | None:
    """The network whose observations the environments must provide; None if no planner of ours plays.

    Raises:
        UserError: `checkpoint_path` is no checkpoint of a planner in this game.
    """
    if isinstance(config, PolicyConfig) and config.policy != "planner":
        return None
    return read_network("checkpoint_path", config.checkpoint_path, config.env.env_name)


def load_policy(
    config: PolicyConfig, game: Game, network: DenoiserConfig | None, whole_plans: bool = True
) -> Policy:
    """The policy a configuration names.

    Args:
        network: that of `played_network`, for which the game was made.
        whole_plans: whether a planner's memory contains whole plans, or only what it executes of them.

    Raises:
        UserError: `checkpoint_path` contains no such policy for this game.
    """
    if config.policy == "random":
        return random_policy(game.num_actions)
    if config.policy == "expert":
        path, temperature = config.checkpoint_path, config.expert_temperature
        return load_expert("checkpoint_path", path, config.env.env_name, game, temperature)
    return load_planner(config, game, network, whole_plans)


def load_planner(
    config: PlayingConfig, game: Game, network: DenoiserConfig | None, whole_plans: bool = True
) -> PlannerPolicy:
    """The planner in a checkpoint, with the sampler and the replanning of `config`.

    Raises:
        UserError: `checkpoint_path` contains no planner for this game, or its plans are too short.
    """
    network, denoiser, params = read_planner(config, game, network)
    sampler = make_sampler(config.sampler, network.diffusion_schedule, config.diffusion_steps_eval)
    planner = Planner(denoiser, sampler)
    return planner.policy(params, config.replan_every, config.inpaint_history, whole_plans)


def read_planner(
    config: PlayingConfig, game: Game, network: DenoiserConfig | None
) -> tuple[DenoiserConfig, Denoiser, Any]:
    """The keys of the network in a planner's checkpoint, the network and its parameters.

    Raises:
        UserError: `checkpoint_path` contains no planner for this game, or its plans are too short.
    """
    network, denoiser, params = load_denoiser("checkpoint_path", config.checkpoint_path, network, game)
    if config.replan_every > network.plan_horizon:
        raise UserError(
            f"replan_every = {config.replan_every}: "
            f"at most the planner's plan_horizon = {network.plan_horizon}"
        )
    return network, denoiser, params
