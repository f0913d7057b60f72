"""Many environments stepped at once, with exact auto-reset that costs what finished episodes need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.config.env import EnvConfig
from remdm.envs.craftax import Game, load_game

Worlds = tuple[jax.Array, Any]


@struct.dataclass
class EnvState:
    """State of E environments and the running statistics of their episodes."""

    world: Any
    episode_return: jax.Array  # [E]
    episode_length: jax.Array  # [E]


@struct.dataclass
class Step:
    """What a step of E environments gives beside the next observation.

    `done` says that the episode ended with this action: the observation that comes with it is the
    first of the next episode. The statistics are those of the episode so far, whole where done.
    """

    reward: jax.Array  # [E]
    done: jax.Array  # [E]
    episode_return: jax.Array  # [E]
    episode_length: jax.Array  # [E]
    achievements: jax.Array  # [E, A], unlocked in an episode that ended here; False elsewhere


Reset = Callable[[jax.Array, jax.Array, Worlds], Worlds]


@dataclass(frozen=True)
class BatchEnv:
    """E environments as two pure functions, `reset` and `step`."""

    game: Game
    num_envs: int
    replace: Reset

    def reset(self, key: jax.Array) -> tuple[jax.Array, EnvState]:
        """Fresh worlds: observations [E, D] and their state."""
        obs, world = jax.vmap(self.game.env.reset_env, in_axes=(0, None))(
            jax.random.split(key, self.num_envs), self.game.params
        )
        zeros = jnp.zeros(self.num_envs, jnp.float32)
        return obs, EnvState(_strong(world), zeros, jnp.zeros(self.num_envs, jnp.int32))

    def step(self, key: jax.Array, state: EnvState, action: jax.Array) -> tuple[jax.Array, EnvState, Step]:
        """Act in every environment and replace those whose episode ended.

        Args:
            action: [E].

        Returns:
            Observations [E, D], the new state, and what the step gave.
        """
        step_key, reset_key = jax.random.split(key)
        obs, world, reward, done, info = jax.vmap(self.game.env.step_env, in_axes=(0, 0, 0, None))(
            jax.random.split(step_key, self.num_envs), state.world, action, self.game.params
        )
        step = Step(
            reward=reward,
            done=done,
            episode_return=state.episode_return + reward,
            episode_length=state.episode_length + 1,
            achievements=jnp.stack(
                [info[f"Achievements/{name}"] > 0 for name in self.game.achievements], axis=-1
            ),
        )
        obs, world = self.replace(reset_key, done, (obs, _strong(world)))
        state = EnvState(
            world=world,
            episode_return=jnp.where(done, 0.0, step.episode_return),
            episode_length=jnp.where(done, 0, step.episode_length),
        )
        return obs, state, step


def make_batch_env(config: EnvConfig, num_envs: int) -> BatchEnv:
    """The environment a configuration names, `num_envs` times."""
    game = load_game(config.env_name)
    if config.use_optimistic_resets:
        replace = optimistic_reset(game, max(1, num_envs // config.optimistic_reset_ratio))
    else:
        replace = on_demand_reset(game, block=max(1, num_envs // 128))
    return BatchEnv(game, num_envs, replace)


def on_demand_reset(game: Game, block: int) -> Reset:
    """Replace finished episodes by fresh worlds, generated in blocks for as long as any is left.

    World generation costs some thirty times a step, so a batch without a finished episode
    generates none. Every new episode gets a world of its own key.
    """

    def replace(key: jax.Array, done: jax.Array, worlds: Worlds) -> Worlds:
        num_envs = done.shape[0]
        order = jnp.nonzero(done, size=num_envs + block, fill_value=num_envs)[0]

        def generate(carry: tuple[jax.Array, Worlds]) -> tuple[jax.Array, Worlds]:
            first, worlds = carry
            envs = jax.lax.dynamic_slice(order, (first,), (block,))
            keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, envs)
            fresh = jax.vmap(game.env.reset_env, in_axes=(0, None))(keys, game.params)
            # Places past the last finished episode are out of range, and dropped.
            worlds = jax.tree.map(lambda old, new: old.at[envs].set(new, mode="drop"), worlds, fresh)
            return first + block, worlds

        finished = jnp.sum(done)
        return jax.lax.while_loop(
            lambda carry: carry[0] < finished, generate, (jnp.zeros((), finished.dtype), worlds)
        )[1]

    return replace


def optimistic_reset(game: Game, num_fresh: int) -> Reset:
    """Generate `num_fresh` worlds at every step; more finished episodes than that share them.

    The scheme of the public baselines (arXiv 2402.16801, appendix on optimistic resets). It is
    inexact: two environments may continue in the same world.
    """

    def replace(key: jax.Array, done: jax.Array, worlds: Worlds) -> Worlds:
        fresh = jax.vmap(game.env.reset_env, in_axes=(0, None))(jax.random.split(key, num_fresh), game.params)
        source = jnp.where(done, (jnp.cumsum(done) - 1) % num_fresh, 0)

        def pick(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new[source].astype(old.dtype), old)

        return jax.tree.map(pick, worlds, fresh)

    return replace


def _strong(world: Any) -> Any:
    """Drop weak types, which differ between a reset's and a step's state and would compile twice."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.asarray(x).dtype), world)
