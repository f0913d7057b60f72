"""Print the numbers of parameters of presets' networks."""

import argparse
import math

from remdm.config.denoiser import DenoiserConfig
from remdm.config.env import GameConfig
from remdm.config.layers import base_layers, build
from remdm.config.ppo import ExpertConfig


def run_params(arguments: argparse.Namespace) -> None:
    """Print a line for each preset: the parameters of its planner and its expert, and their game.

    Raises:
        UserError: there is no such preset, or its networks cannot be built.
    """
    from remdm.envs.craftax import load_game
    from remdm.envs.past import with_past
    from remdm.experts import network
    from remdm.planners import denoising
    from remdm.training.checkpoint import named

    width = max(map(len, ("preset", *arguments.presets)))
    print(f"{'preset':<{width}}  {'planner':>12}  {'expert':>12}  game")
    for preset in arguments.presets:
        layers = base_layers(preset)
        name, denoiser = build(GameConfig, layers).env_name, build(DenoiserConfig, layers)
        game = with_past(load_game(name), denoiser)
        shapes = (
            denoising.param_shapes(denoiser, game.obs_dim, game.num_actions),
            network.param_shapes(build(ExpertConfig, layers), game.shown_dim, game.num_actions),
        )
        planner, expert = (sum(math.prod(x.shape) for x in named(tree).values()) for tree in shapes)
        print(f"{preset:<{width}}  {planner:>12,}  {expert:>12,}  {name}")
