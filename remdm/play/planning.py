"""Wrappers for planning and for training planners: tokens, plans and stored trajectories.

Those whose state outlives an episode wrap the batch with its automatic reset (`PlannerWrapper`,
`OfflineTrajectoryWrapper`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from remdm.envs.wrappers import BatchEnvWrapper, Env, Outcome, Worlds, Wrapper
from remdm.play.buffer import CircularBuffer, empty, insert
from remdm.play.cycle import PlanCycle, idle_cycle


class DiscreteTokenizationWrapper(Wrapper):
    """Returns observations as tokens: indices [int32] of `num_bins` equal bins between `low` and `high`.

    Values outside fall into the outermost bins. It is elementwise, so for one environment or many; `low`
    and `high` are numbers or arrays that broadcast against an observation.
    """

    def __init__(self, env: Env, num_bins: int, low: float | jax.Array, high: float | jax.Array) -> None:
        super().__init__(env)
        self.num_bins, self.low, self.high = num_bins, low, high

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """The first observation's tokens."""
        obs, state = self.env.reset(key, params)
        return self.tokenize(obs), state

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """The next observation's tokens."""
        obs, state, reward, done, info = self.env.step(key, state, action, params)
        return self.tokenize(obs), state, reward, done, info

    def tokenize(self, obs: jax.Array) -> jax.Array:
        """The bins of values, int32 of the same shape."""
        position = (obs - self.low) / (self.high - self.low) * self.num_bins
        return jnp.clip(jnp.floor(position), 0, self.num_bins - 1).astype(jnp.int32)

    def detokenize(self, tokens: jax.Array) -> jax.Array:
        """The centres of bins: off by half a bin at most, for values between `low` and `high`."""
        return self.low + (tokens + 0.5) / self.num_bins * (self.high - self.low)


@struct.dataclass
class PlannerState:
    """The games, and the execution of their plans; `cycle.due` is whether a new one is needed."""

    env_state: Any
    cycle: PlanCycle


class PlannerWrapper(Wrapper):
    """Takes whole plans [E, H] in place of actions and executes them action by action.

    A plan for an environment where none is due is ignored, so planning can be skipped if `state.cycle.due`
    is false everywhere; a revised plan must begin with the first `hist_len` actions of `state.cycle.history`.
    For a batch with automatic resets: `done` also starts the next episode's first plan.
    """

    def __init__(self, env: BatchEnvWrapper, horizon: int, replan_every: int, inpaint_history: bool) -> None:
        super().__init__(env)
        self.idle = idle_cycle(env.num_envs, horizon, replan_every, inpaint_history)

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """A plan is due everywhere."""
        obs, env_state = self.env.reset(key, params)
        zeros = jnp.zeros(self.num_envs, jnp.int32)
        return obs, PlannerState(env_state, self.idle.observe(zeros, first=jnp.ones_like(zeros, bool)))

    def step(self, key: jax.Array, state: PlannerState, action: jax.Array, params: Any) -> Outcome:
        """Adopt the plans [E, H] that are due, and execute one action of each plan in execution."""
        cycle = state.cycle.adopt(action)
        executed = cycle.action
        obs, env_state, reward, done, info = self.env.step(key, state.env_state, executed, params)
        return obs, PlannerState(env_state, cycle.observe(executed, first=done)), reward, done, info


class StoredTransition(NamedTuple):
    """One step in the buffer, arrays [N, ...]."""

    obs: jax.Array  # [N, *S], before the action
    action: jax.Array  # [N]
    reward: jax.Array  # [N]
    done: jax.Array  # [N], whether the episode ended with the action


@struct.dataclass
class TrajectoryState:
    """The games, their current observations, and the transitions so far."""

    env_state: Any
    obs: jax.Array  # [E, *S]
    buffer: CircularBuffer  # of StoredTransition


class OfflineTrajectoryWrapper(Wrapper):
    """Keeps the last `capacity` transitions in the state, in a circular buffer.

    It wraps a batch with its automatic reset, which would otherwise empty the buffer. A step adds E
    transitions, one of each environment in turn. `capacity` is at least E; a multiple of E keeps whole steps.
    """

    def __init__(self, env: BatchEnvWrapper, capacity: int) -> None:
        super().__init__(env)
        self.capacity = capacity

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """The buffer is empty."""
        obs, env_state = self.env.reset(key, params)
        one = StoredTransition(
            obs=jnp.zeros_like(obs[0]),
            action=jnp.zeros((), jnp.int32),
            reward=jnp.zeros((), jnp.float32),
            done=jnp.zeros((), bool),
        )
        return obs, TrajectoryState(env_state, obs, empty(self.capacity, one))

    def step(self, key: jax.Array, state: TrajectoryState, action: jax.Array, params: Any) -> Outcome:
        """Act, and store the transitions."""
        obs, env_state, reward, done, info = self.env.step(key, state.env_state, action, params)
        buffer = insert(state.buffer, StoredTransition(state.obs, action, reward, done))
        return obs, TrajectoryState(env_state, obs, buffer), reward, done, info
