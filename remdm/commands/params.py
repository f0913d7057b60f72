"""Print how many parameters the networks of presets have."""

import argparse
import math

from remdm.config.denoiser import DenoiserConfig
from remdm.config.env import GameConfig
from remdm.config.layers import base_layers, build
from remdm.config.ppo import ExpertConfig


def run_params(arguments: argparse.Namespace) -> None:
    """Print a line for each preset: how many its planner and its expert have, and their game.

    Raises:
        UserError: there is no such preset, or no such network can be built.
    """
    from remdm.experts import network
    from remdm.planners import denoising
    from remdm.training.checkpoint import named
    from remdm.training.public import GAMES

    width = max(map(len, ("preset", *arguments.presets)))
    print(f"{'preset':<{width}}  {'planner':>12}  {'expert':>12}  game")
    for preset in arguments.presets:
        layers = base_layers(preset)
        game = build(GameConfig, layers).env_name
        shapes = (
            denoising.param_shapes(build(DenoiserConfig, layers), *GAMES[game]),
            network.param_shapes(build(ExpertConfig, layers), *GAMES[game]),
        )
        planner, expert = (sum(math.prod(x.shape) for x in named(tree).values()) for tree in shapes)
        print(f"{preset:<{width}}  {planner:>12,}  {expert:>12,}  {game}")
