"""Numbered worlds of evaluations, so that differences between policies are paired."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.base.tree import where
from remdm.envs.wrappers import BatchEnvWrapper, Env, Outcome, Worlds, put


@struct.dataclass
class PairedState:
    """The environments, and for each the world of its next episode."""

    env_state: Any  # [E, ...]
    next: Worlds  # [E, ...]
    ready: jax.Array  # [E], whether `next` has been generated
    episode: jax.Array  # [E], number of the episode in progress
    key: jax.Array  # of all worlds


class PairedResetVecEnvWrapper(BatchEnvWrapper):
    """A batch with automatic resets whose worlds depend only on their numbers.

    Episode k of environment e starts in the world of the key (reset's key, e, k), whatever was played
    before and however many environments there are. Next worlds are generated `block_size` at a time, once
    so many have been used or one is needed that has not been generated yet, because a single world costs
    several times its share of a batch.
    """

    def __init__(self, env: Env, num_envs: int, block_size: int) -> None:
        super().__init__(env, num_envs)
        self.block_size = min(block_size, num_envs)

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """World 0 in every environment; the next ones are generated when the first episode ends."""
        envs = jnp.arange(self.num_envs)
        obs, state = self._generate(key, envs, jnp.zeros_like(envs), params)
        zeros = jax.tree.map(jnp.zeros_like, (obs, state))
        return obs, PairedState(state, zeros, jnp.zeros_like(envs, bool), jnp.zeros_like(envs), key)

    def step(self, key: jax.Array, state: PairedState, action: jax.Array, params: Any) -> Outcome:
        """Act in every environment and start the next world where an episode ended."""
        obs, env_state, reward, done, info = super().step(key, state.env_state, action, params)

        def advance(worlds: Worlds) -> tuple[Worlds, Worlds, jax.Array]:
            following, ready = self._prepare(done, state, params)
            return where(done, following, worlds), following, ready & ~done

        def stay(worlds: Worlds) -> tuple[Worlds, Worlds, jax.Array]:
            return worlds, state.next, state.ready

        (obs, env_state), following, ready = jax.lax.cond(jnp.any(done), advance, stay, (obs, env_state))
        new_state = PairedState(env_state, following, ready, state.episode + done, state.key)
        return obs, new_state, reward, done, info

    def _generate(self, key: jax.Array, envs: jax.Array, episodes: jax.Array, params: Any) -> Worlds:
        """The worlds of episodes [N] of environments [N]."""
        numbered = jax.vmap(lambda e, k: jax.random.fold_in(jax.random.fold_in(key, e), k))
        return self.reset_each(numbered(envs, episodes), params)

    @jax.named_scope("reset")
    def _prepare(self, done: jax.Array, state: PairedState, params: Any) -> tuple[Worlds, jax.Array]:
        """Next worlds, at least where an episode ended, and which of them are ready."""

        def wanting(carry: tuple[Worlds, jax.Array]) -> jax.Array:
            _, ready = carry
            return jnp.any(done & ~ready) | (jnp.sum(~ready) >= self.block_size)

        def generate(carry: tuple[Worlds, jax.Array]) -> tuple[Worlds, jax.Array]:
            worlds, ready = carry
            # First those that are needed now; then others, to fill the block.
            urgency = jnp.where(ready, 0, 1 + done)
            _, envs = jax.lax.top_k(urgency, self.block_size)
            new = self._generate(state.key, envs, state.episode[envs] + 1, params)
            # Indices of those that were ready are set out of range, and dropped.
            indices = envs + jnp.where(ready[envs], self.num_envs, 0)
            worlds = jax.tree.map(lambda old, x: put(old, indices, x), worlds, new)
            return worlds, put(ready, indices, True)

        return jax.lax.while_loop(wanting, generate, (state.next, state.ready))
