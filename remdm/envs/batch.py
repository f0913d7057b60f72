"""The environment of the pipeline: many wrapped games at once."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.config.denoiser import DenoiserConfig
from remdm.config.env import EnvConfig, GameConfig
from remdm.envs.craftax import Game, load_game
from remdm.envs.paired import PairedResetVecEnvWrapper
from remdm.envs.past import with_past
from remdm.envs.wrappers import (
    BatchEnvWrapper,
    Env,
    LogWrapper,
    OptimisticResetVecEnvWrapper,
    PooledResetVecEnvWrapper,
)


@struct.dataclass
class Step:
    """Results of a step of E environments, except the next observation.

    `done` means that the episode ended with this action: the observation that comes with it is the first of
    the next episode. Return, length and achievements are those of the episode so far, including this step.
    """

    reward: jax.Array  # [E]
    done: jax.Array  # [E]
    episode_return: jax.Array  # [E]
    episode_length: jax.Array  # [E]
    achievements: jax.Array  # [E, A]


@dataclass(frozen=True)
class BatchEnv:
    """E environments as two pure functions, `reset` and `step`.

    `env` is `game` in a `LogWrapper` and an automatic reset.
    """

    game: Game
    env: BatchEnvWrapper

    @property
    def num_envs(self) -> int:
        """Number of environments, E."""
        return self.env.num_envs

    def reset(self, key: jax.Array) -> tuple[jax.Array, Any]:
        """Fresh worlds: observations [E, D] and their state."""
        obs, state = self.env.reset(key, self.game.params)
        return obs, strong(state)

    @jax.named_scope("env_step")
    def step(self, key: jax.Array, state: Any, action: jax.Array) -> tuple[jax.Array, Any, Step]:
        """Act in every environment and replace those whose episode ended.

        Args:
            action: [E].

        Returns:
            Observations [E, D], the new state, and the results of the step.
        """
        obs, state, reward, done, info = self.env.step(key, state, action, self.game.params)
        unlocked = [info[f"Achievements/{name}"] > 0 for name in self.game.achievements]
        step = Step(
            reward=reward,
            done=done,
            episode_return=info["episode_return"],
            episode_length=info["episode_length"],
            achievements=jnp.stack(unlocked, axis=-1),
        )
        return obs, strong(state), step


def make_batch_env(config: EnvConfig, num_envs: int, network: DenoiserConfig | None = None) -> BatchEnv:
    """The environment a configuration names, `num_envs` times.

    Args:
        network: of the planner that is to play it, which may need more observations than the game's own.
    """
    game = with_past(load_game(config.env_name), network)
    env = LogWrapper(game.env)
    if config.use_optimistic_resets:
        return BatchEnv(game, OptimisticResetVecEnvWrapper(env, num_envs, config.optimistic_reset_ratio))
    return BatchEnv(game, pooled(env, num_envs))


def make_paired_env(config: GameConfig, num_envs: int, network: DenoiserConfig | None = None) -> BatchEnv:
    """The game a configuration names, `num_envs` times, in the same worlds for every policy.

    Args:
        network: as in `make_batch_env`.
    """
    game = with_past(load_game(config.env_name), network)
    return BatchEnv(game, PairedResetVecEnvWrapper(LogWrapper(game.env), num_envs, block_size=8))


def pooled(env: Env, num_envs: int) -> PooledResetVecEnvWrapper:
    """The batch of the pipeline, with a pool of a good size.

    Eight worlds at once cost little more than a third of eight worlds one by one; with more environments,
    more worlds are needed at once.
    """
    return PooledResetVecEnvWrapper(env, num_envs, pool_size=max(8, num_envs // 16))


def strong(state: Any) -> Any:
    """Drop weak types, which differ between a reset's and a step's state and would compile twice."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.asarray(x).dtype), state)
