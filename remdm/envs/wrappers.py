"""Wrappers in the style of gymnax: each is an environment made of another one.

The specification's stack is env -> LogWrapper -> AutoResetEnvWrapper -> BatchEnvWrapper. World
generation costs some thirty times a step, and under `vmap` a conditional reset generates a world for every
environment at every step; so in place of the last two the pipeline has one wrapper that resets the batch
as a whole, from a pool of worlds.
"""

from typing import Annotated, Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from remdm.base.fields import Role
from remdm.base.tree import where
from remdm.envs.devices import each_shard, num_shards, own_key

Worlds = tuple[jax.Array, Any]  # observations and states
Outcome = tuple[jax.Array, Any, jax.Array, jax.Array, dict[str, Any]]  # obs, state, reward, done, info


class Env(Protocol):
    """The interface of all wrappers and wrapped environments; `done`: the episode ended with the action."""

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """The first observation of a fresh world, and the state."""

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """The next observation and state, the reward, whether the episode is done, and `info`."""


class Wrapper:
    """Takes from the wrapped environment whatever it does not define itself."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # which copying and pickling look up before `env` is set
            raise AttributeError(name)
        return getattr(self.env, name)


class AchievementsWrapper(Wrapper):
    """Reports the achievements so far at every step; Craftax itself reports them only at an episode's end."""

    def __init__(self, env: Any, names: tuple[str, ...]) -> None:
        super().__init__(env)
        self.names = names

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """Act; `info` has 100 for each unlocked achievement, as in Craftax."""
        obs, state, reward, done, info = self.env.step(key, state, action, params)
        so_far = {f"Achievements/{name}": 100.0 * state.achievements[i] for i, name in enumerate(self.names)}
        return obs, state, reward, done, {**info, **so_far}


@struct.dataclass
class LogState:
    """Running statistics of an episode, and those of the last one that ended."""

    env_state: Any
    episode_return: jax.Array
    episode_length: jax.Array
    returned_episode_return: jax.Array
    returned_episode_length: jax.Array
    timestep: jax.Array


class LogWrapper(Wrapper):
    """Adds to `info` the statistics of episodes, under the names of the public baselines.

    `returned_episode` is `done`; if it is true, `returned_episode_returns` and `returned_episode_lengths`
    are those of the episode that ended, else of the one before. In addition, `episode_return` and
    `episode_length` are those of the episode so far, including this step. An automatic reset around this
    wrapper also resets the statistics: then they are zero until the episode ends, and `timestep`, the steps
    since the last reset, counts the steps of the episode.
    """

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """Statistics start from zero."""
        obs, env_state = self.env.reset(key, params)
        return obs, LogState(
            env_state=env_state,
            episode_return=jnp.zeros((), jnp.float32),
            episode_length=jnp.zeros((), jnp.int32),
            returned_episode_return=jnp.zeros((), jnp.float32),
            returned_episode_length=jnp.zeros((), jnp.int32),
            timestep=jnp.zeros((), jnp.int32),
        )

    def step(self, key: jax.Array, state: LogState, action: jax.Array, params: Any) -> Outcome:
        """Act, and count the step."""
        obs, env_state, reward, done, info = self.env.step(key, state.env_state, action, params)
        episode_return = state.episode_return + reward
        episode_length = state.episode_length + 1
        state = LogState(
            env_state=env_state,
            episode_return=jnp.where(done, 0.0, episode_return),
            episode_length=jnp.where(done, 0, episode_length),
            returned_episode_return=jnp.where(done, episode_return, state.returned_episode_return),
            returned_episode_length=jnp.where(done, episode_length, state.returned_episode_length),
            timestep=state.timestep + 1,
        )
        info = {
            **info,
            "episode_return": episode_return,
            "episode_length": episode_length,
            "returned_episode_returns": state.returned_episode_return,
            "returned_episode_lengths": state.returned_episode_length,
            "timestep": state.timestep,
            "returned_episode": done,
        }
        return obs, state, reward, done, info


class AutoResetEnvWrapper(Wrapper):
    """Continues in a fresh world when an episode ends: exact, simple and slow.

    The observation of the step that ends an episode is the first of the next. Every step generates
    a world and discards it unless it is needed.
    """

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """Act, and replace the world if the episode ended."""
        step_key, reset_key = jax.random.split(key)
        obs, state, reward, done, info = self.env.step(step_key, state, action, params)
        obs, state = where(done, self.env.reset(reset_key, params), (obs, state))
        return obs, state, reward, done, info


class BatchEnvWrapper(Wrapper):
    """`num_envs` environments at once: observations are [E, ...], actions, rewards and dones [E].

    Each device steps its own part of them. Keys are drawn for all environments beforehand, so an
    environment does not depend on the number of devices.
    """

    def __init__(self, env: Env, num_envs: int) -> None:
        super().__init__(env)
        self.num_envs = num_envs
        self.reset_each = jax.vmap(env.reset, in_axes=(0, None))
        self.step_each = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """A fresh world in every environment."""

        def of_shard(_: None, keys: jax.Array) -> Worlds:
            return self.reset_each(keys, params)

        return each_shard(of_shard)(None, jax.random.split(key, self.num_envs))

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """Act in every environment."""

        def of_shard(_: None, keys: jax.Array, state: Any, action: jax.Array) -> Outcome:
            return self.step_each(keys, state, action, params)

        return each_shard(of_shard)(None, jax.random.split(key, self.num_envs), state, action)


class OptimisticResetVecEnvWrapper(BatchEnvWrapper):
    """A batch with automatic resets that generates one world a step for `reset_ratio` environments.

    The scheme of the public baselines (arXiv 2402.16801, appendix on optimistic resets). It is
    inexact: when more episodes end at once than worlds were generated, some continue in the same world.
    """

    def __init__(self, env: Env, num_envs: int, reset_ratio: int) -> None:
        super().__init__(env, num_envs)
        self.reset_ratio = reset_ratio

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """Act in every environment and hand out fresh worlds in turn."""
        step_key, reset_key = jax.random.split(key)

        def of_shard(reset_key: jax.Array, keys: jax.Array, state: Any, action: jax.Array) -> Outcome:
            obs, state, reward, done, info = self.step_each(keys, state, action, params)
            num_fresh = max(1, len(done) // self.reset_ratio)
            fresh = self.reset_each(jax.random.split(own_key(reset_key), num_fresh), params)
            source = jnp.where(done, (jnp.cumsum(done) - 1) % num_fresh, 0)
            handed_out = jax.tree.map(lambda x: x[source], fresh)
            obs, state = where(done, handed_out, (obs, state))
            return obs, state, reward, done, info

        return each_shard(of_shard)(reset_key, jax.random.split(step_key, self.num_envs), state, action)


@struct.dataclass
class PooledState:
    """The environments, and worlds for the episodes to come; on S devices, a pool on each."""

    env_state: Any  # [E, ...]
    pool: Annotated[Worlds, Role.PER_DEVICE]  # [P, ...] or [S P, ...]; the first `left` are unused
    left: Annotated[jax.Array, Role.PER_DEVICE]  # [] or [S]


class PooledResetVecEnvWrapper(BatchEnvWrapper):
    """A batch with automatic resets that generates worlds in batches, and hands each out once.

    It behaves as `BatchEnvWrapper(AutoResetEnvWrapper(env), num_envs)`, with fresh worlds from other keys,
    and generates worlds only for episodes that ended. It generates `pool_size` at a time, when the pool is
    empty, because a single world costs several times its share of a batch. Each device has its own pool.
    """

    def __init__(self, env: Env, num_envs: int, pool_size: int) -> None:
        super().__init__(env, num_envs)
        self.pool_size = pool_size

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """A fresh world in every environment, and an empty pool."""
        each = () if num_shards() == 1 else (1,)

        def of_shard(_: None, keys: jax.Array) -> Worlds:
            obs, state = self.reset_each(keys, params)
            empty = jax.tree.map(lambda x: jnp.zeros((self.pool_size, *x.shape[1:]), x.dtype), (obs, state))
            return obs, PooledState(state, empty, jnp.zeros(each, jnp.int32))

        return each_shard(of_shard)(None, jax.random.split(key, self.num_envs))

    def step(self, key: jax.Array, state: PooledState, action: jax.Array, params: Any) -> Outcome:
        """Act in every environment and replace the worlds of episodes that ended."""

        def of_shard(key: jax.Array, keys: jax.Array, state: PooledState, action: jax.Array) -> Outcome:
            obs, env_state, reward, done, info = self.step_each(keys, state.env_state, action, params)
            worlds, pool, left = self._replace(own_key(key), done, (obs, env_state), state, params)
            return worlds[0], PooledState(worlds[1], pool, left), reward, done, info

        keys = jax.random.split(key, self.num_envs)
        step_keys, _ = jax.vmap(jax.random.split, out_axes=1)(keys)
        # Every environment's key is split from `key`, so this one differs from all of them.
        pool_key = jax.random.fold_in(key, self.num_envs)
        return each_shard(of_shard)(pool_key, step_keys, state, action)

    @jax.named_scope("reset")
    def _replace(
        self, key: jax.Array, done: jax.Array, worlds: Worlds, state: PooledState, params: Any
    ) -> tuple[Worlds, Worlds, jax.Array]:
        """Worlds with those of finished episodes replaced, the pool, and how many of it are left."""
        indices = jnp.arange(self.pool_size)
        num_envs = len(done)
        order = jnp.nonzero(done, size=num_envs + self.pool_size, fill_value=num_envs)[0]
        finished = jnp.sum(done)

        def refill(carry: tuple) -> tuple:
            _, left, key = carry
            key, pool_key = jax.random.split(key)
            pool = self.reset_each(jax.random.split(pool_key, self.pool_size), params)
            return pool, left + self.pool_size, key

        def hand_out(carry: tuple) -> tuple:
            given, worlds, pool, left, key = carry
            # A loop in place of `cond`, which under `vmap` would generate worlds at every step.
            pool, left, key = jax.lax.while_loop(lambda c: c[1] == 0, refill, (pool, left, key))
            count = jnp.minimum(left, finished - given)
            envs = jax.lax.dynamic_slice(order, (given,), (self.pool_size,))
            envs = jnp.where(indices < count, envs, num_envs + indices)  # those out of range are dropped
            source = left - 1 - indices
            worlds = jax.tree.map(lambda old, new: put(old, envs, new[source]), worlds, pool)
            return given + count, worlds, pool, left - count, key

        carry = (jnp.zeros_like(finished), worlds, state.pool, state.left.reshape(()), key)
        _, worlds, pool, left, _ = jax.lax.while_loop(lambda carry: carry[0] < finished, hand_out, carry)
        return worlds, pool, left.reshape(state.left.shape)


def put(old: jax.Array, indices: jax.Array, new: Any) -> jax.Array:
    """An array [N, ...] with rows replaced at distinct indices; those out of range are dropped.

    Without `unique_indices`, XLA would replace one row after the other on GPUs where runs must repeat bit for
    bit.
    """
    return old.at[indices].set(new, mode="drop", unique_indices=True)
