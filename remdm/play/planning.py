"""Wrappers for planning and for learning to: tokens, plans and stored trajectories.

What outlives an episode goes around the batch with its automatic reset (`PlannerWrapper`,
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
    """Gives observations as tokens: which of `num_bins` equal bins between `low` and `high` [int32].

    Values outside fall into the outermost bins. Elementwise, so for one environment or many; `low`
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
        """The bins that values lie in, int32 of the same shape."""
        place = (obs - self.low) / (self.high - self.low) * self.num_bins
        return jnp.clip(jnp.floor(place), 0, self.num_bins - 1).astype(jnp.int32)

    def detokenize(self, tokens: jax.Array) -> jax.Array:
        """The centres of bins: off by half a bin at most, for values between `low` and `high`."""
        return self.low + (tokens + 0.5) / self.num_bins * (self.high - self.low)


@struct.dataclass
class PlannerState:
    """The games, and what has been made of their plans; `cycle.due` says who needs a new one."""

    env_state: Any
    cycle: PlanCycle


class PlannerWrapper(Wrapper):
    """Takes whole plans [E, H] in place of actions and executes them action by action.

    A plan given to an environment where none is due is ignored, so that planning can be skipped when
    `state.cycle.due` holds nowhere; `state.cycle.history` and `hist_len` are what a revised plan must
    begin with. For a batch with automatic resets: `done` also begins the next episode's first plan.
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
    """One step as it is stored, arrays [N, ...]."""

    obs: jax.Array  # [N, *S], what the action was chosen on
    action: jax.Array  # [N]
    reward: jax.Array  # [N]
    done: jax.Array  # [N], whether the episode ended with the action


@struct.dataclass
class TrajectoryState:
    """The games, the observation they are at, and the transitions so far."""

    env_state: Any
    obs: jax.Array  # [E, *S]
    buffer: CircularBuffer  # of StoredTransition


class OfflineTrajectoryWrapper(Wrapper):
    """Keeps the last `capacity` transitions in the state, in a circular buffer.

    For a batch, around the automatic reset, which would empty it: a step adds E transitions, one of
    each environment in turn. `capacity` is at least E; a multiple of it keeps whole steps.
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
        """Store what happened."""
        obs, env_state, reward, done, info = self.env.step(key, state.env_state, action, params)
        buffer = insert(state.buffer, StoredTransition(state.obs, action, reward, done))
        return obs, TrajectoryState(env_state, obs, buffer), reward, done, info
