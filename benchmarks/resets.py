"""Frames/s of random play by how finished episodes are replaced, game and number of environments.

    uv run python benchmarks/resets.py [--games classic full] [--envs 64 256 1024] [--repeats 5]

`none` plays on in worlds whose episode ended, which is no game: it is the limit. `every step` is the
specification's stack, a fresh world for every environment at every step. Schemes take turns, so that
the machine's moods meet all of them; all start from the same worlds, in which random play has gone on
long enough for episodes to end at their usual rate.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from remdm.config.layers import base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.envs.batch import pooled, strong
from remdm.envs.craftax import Game, load_game
from remdm.envs.wrappers import (
    AutoResetEnvWrapper,
    BatchEnvWrapper,
    LogWrapper,
    OptimisticResetVecEnvWrapper,
)
from remdm.stages.session import prepare_jax

GAMES = {"classic": "Craftax-Classic-Symbolic-v1", "full": "Craftax-Symbolic-v1"}
WARM_UP = 300  # steps
STEPS = 64  # of a repeat
POOLED, OPTIMISTIC, EVERY_STEP, RATIO = "pooled", "optimistic", "every step", 16


def schemes(game: Game, num_envs: int) -> dict[str, BatchEnvWrapper]:
    """Batches of one game by the name of how they replace finished episodes."""
    env = LogWrapper(game.env)
    return {
        POOLED: pooled(env, num_envs),
        OPTIMISTIC: OptimisticResetVecEnvWrapper(env, num_envs, RATIO),
        EVERY_STEP: BatchEnvWrapper(AutoResetEnvWrapper(env), num_envs),
        "none": BatchEnvWrapper(env, num_envs),
    }


def compile_play(game: Game, batch: BatchEnvWrapper, num_steps: int, state: Any) -> Callable:
    """Random play: (key, state) -> (state, sums that make XLA compute dones and observations)."""

    def play(key: jax.Array, state: Any) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        def step(state: Any, key: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            act_key, env_key = jax.random.split(key)
            action = jax.random.randint(act_key, (batch.num_envs,), 0, game.num_actions)
            obs, state, _, done, _ = batch.step(env_key, state, action, game.params)
            return strong(state), (jnp.sum(done), jnp.sum(obs))

        state, sums = jax.lax.scan(step, state, jax.random.split(key, num_steps))
        return state, sums

    return jax.jit(play).lower(jax.random.PRNGKey(0), state).compile()


def measure(game: Game, num_envs: int, repeats: int) -> dict[str, list[float]]:
    """Frames/s of each repeat, by scheme."""
    key = jax.random.PRNGKey(0)
    batches = schemes(game, num_envs)
    warm = batches[POOLED]
    state = strong(jax.jit(lambda key: warm.reset(key, game.params)[1])(key))
    state, _ = compile_play(game, warm, WARM_UP, state)(key, state)

    plays, steps, states = {}, {}, {}
    for name, batch in batches.items():
        # A reset at every step makes a step some thirty times as long.
        steps[name] = max(1, 256 // num_envs) if name == EVERY_STEP else STEPS
        states[name] = state if name == POOLED else state.env_state
        plays[name] = compile_play(game, batch, steps[name], states[name])
        jax.block_until_ready(plays[name](key, states[name]))
    rates: dict[str, list[float]] = {name: [] for name in plays}
    for repeat in range(repeats):
        for name, play in plays.items():
            began = time.perf_counter()
            jax.block_until_ready(play(jax.random.fold_in(key, repeat), states[name]))
            rates[name].append(steps[name] * num_envs / (time.perf_counter() - began))
    return rates


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES))
    parser.add_argument("--envs", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    prepare_jax(build(RuntimeConfig, base_layers(None)))

    print(f"{os.cpu_count()} cores; frames/s: median of {arguments.repeats}, range, share of optimistic's")
    for name in arguments.games:
        game = load_game(GAMES[name])
        for num_envs in arguments.envs:
            rates = measure(game, num_envs, arguments.repeats)
            reference = statistics.median(rates[OPTIMISTIC])
            for scheme, values in rates.items():
                median = statistics.median(values)
                spread = f"{min(values):,.0f} to {max(values):,.0f}"
                print(
                    f"{name:8} {num_envs:5} envs  {scheme:11} {median:9,.0f}  {spread:20} "
                    f"{median / reference:5.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
