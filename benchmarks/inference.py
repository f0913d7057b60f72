"""Frames/s of a planner that plays Classic: 32 environments, 10 denoising steps, loop, a plan at every step.

    uv run python benchmarks/inference.py [--repeats 7] [--envs 32] [--steps 10] [--replan_every 4]

The network is untrained, which costs the same: H 32, width 128, 3 layers, 4 heads, feed-forward 256,
encoder 256. `as specified` makes a fresh world for every environment at every step, as the specification's
stack does, and calls the network once more to unmask what is left; `whole plans` denoises every token at
every step, as validation and pictures do; `wanted tokens` is what `remdm inference` does: the same actions,
without the work that none of them needs.
Variants take turns, so that the machine's moods meet all of them; compilation is left out.
"""

import argparse
import os
import statistics
import time

import jax

from remdm.config.denoiser import DenoiserConfig
from remdm.config.inference import InferenceConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.envs.batch import BatchEnv, make_paired_env
from remdm.envs.wrappers import AutoResetEnvWrapper, BatchEnvWrapper, LogWrapper
from remdm.planners.control import Planner
from remdm.planners.denoising import init_params, make_denoiser, make_sampler
from remdm.play.player import CHUNK_STEPS, Player, compile_player
from remdm.play.policy import random_policy
from remdm.stages.session import prepare_jax

NETWORK = {
    "plan_horizon": 32, "d_model": 128, "n_layers": 3, "n_heads": 4, "d_ff": 256,
    "obs_encoder_layers": 2, "obs_encoder_width": 256,
}  # fmt: skip
SPECIFIED, WHOLE, WANTED, RANDOM = "as specified", "whole plans", "wanted tokens", "random play"


def players(num_envs: int, steps: int, replan_every: int) -> dict[str, Player]:
    """Compiled players by name."""
    layers = [*base_layers(None), Layer("benchmark", {**NETWORK, "seed": 0, "diffusion_steps_eval": steps})]
    config, network = build(InferenceConfig, layers), build(DenoiserConfig, layers)
    env = make_paired_env(config.env, num_envs)
    denoiser = make_denoiser(network, env.game.num_actions)
    params = init_params(denoiser, jax.random.PRNGKey(0), env.game.obs_dim)
    specified = BatchEnv(env.game, BatchEnvWrapper(AutoResetEnvWrapper(LogWrapper(env.game.env)), num_envs))

    def planner(every: int, whole_plans: bool, env: BatchEnv = env, steps: int = steps) -> Player:
        sampler = make_sampler(config.sampler, network.diffusion_schedule, steps)
        policy = Planner(denoiser, sampler).policy(params, every, config.inpaint_history, whole_plans)
        return compile_player(jax.random.PRNGKey(1), env, policy, lambda played: played.step)

    return {
        SPECIFIED: planner(1, True, specified, steps + 1),
        WHOLE: planner(1, True),
        WANTED: planner(1, False),
        f"{WANTED}, replan_every {replan_every}": planner(replan_every, False),
        RANDOM: compile_player(
            jax.random.PRNGKey(1), env, random_policy(env.game.num_actions), lambda played: played.step
        ),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--envs", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--replan_every", type=int, default=4)
    arguments = parser.parse_args()
    prepare_jax(build(RuntimeConfig, base_layers(None)))

    playing = players(arguments.envs, arguments.steps, arguments.replan_every)
    rates: dict[str, list[float]] = {name: [] for name in playing}
    for repeat in range(-1, arguments.repeats):  # the first is a warm-up
        for name in playing:
            began = time.perf_counter()
            playing[name], _ = playing[name].chunk(repeat + 1)
            if repeat >= 0:
                rates[name].append(CHUNK_STEPS * arguments.envs / (time.perf_counter() - began))

    print(
        f"{os.cpu_count()} cores, {arguments.envs} environments, {arguments.steps} denoising steps; "
        f"frames/s: median of {arguments.repeats}, range; ratio to {SPECIFIED}, paired: median, range"
    )
    for name, values in rates.items():
        ratios = [value / whole for value, whole in zip(values, rates[SPECIFIED], strict=True)]
        print(
            f"{name:30} {statistics.median(values):9,.0f}  {min(values):,.0f} to {max(values):,.0f}  "
            f"{statistics.median(ratios):5.2f}  {min(ratios):.2f} to {max(ratios):.2f}"
        )


if __name__ == "__main__":
    main()
