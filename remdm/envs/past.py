"""Observations with more of the episode so far than the game's own."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from remdm.config.denoiser import DenoiserConfig
from remdm.envs.craftax import Game, Past
from remdm.envs.wrappers import Env, LogState, Outcome, Worlds, Wrapper


@struct.dataclass
class HistoryState:
    """The last L observations and the actions that led to them, the newest last."""

    env_state: Any
    observations: jax.Array  # [L, *S]
    actions: jax.Array  # [L]


class SequenceHistoryWrapper(Wrapper):
    """Keeps a sliding window of the last `length` observations and actions in the state.

    `observations[-1]` is the observation just given, and `actions[i]` the action that led to
    `observations[i]`. Entries before the episode's first observation are zero, and so is the action
    that led to it. For a single environment, inside the automatic reset, which empties the window.
    """

    def __init__(self, env: Env, length: int) -> None:
        super().__init__(env)
        self.length = length

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """The window contains only the first observation."""
        obs, env_state = self.env.reset(key, params)
        before = jnp.zeros((self.length, *obs.shape), obs.dtype)
        return obs, HistoryState(env_state, _slide(before, obs), jnp.zeros(self.length, jnp.int32))

    def step(self, key: jax.Array, state: HistoryState, action: jax.Array, params: Any) -> Outcome:
        """Act, and move the window by one step."""
        obs, env_state, reward, done, info = self.env.step(key, state.env_state, action, params)
        state = HistoryState(env_state, _slide(state.observations, obs), _slide(state.actions, action))
        return obs, state, reward, done, info


class ProgressWrapper(Wrapper):
    """Appends to observations the achievements unlocked so far, 0 or 1, and the last reward."""

    def __init__(self, env: Env, achievements: tuple[str, ...]) -> None:
        super().__init__(env)
        self.achievements = achievements

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """Nothing is unlocked."""
        obs, state = self.env.reset(key, params)
        return jnp.append(obs, jnp.zeros(len(self.achievements) + 1, obs.dtype)), state

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Outcome:
        """Act."""
        obs, state, reward, done, info = self.env.step(key, state, action, params)
        unlocked = [info[f"Achievements/{name}"] > 0 for name in self.achievements]
        return jnp.append(obs, jnp.stack([*unlocked, reward]).astype(obs.dtype)), state, reward, done, info


class PastWrapper(Wrapper):
    """Appends to observations those of 1, 2, 4, 8 ... steps before, then the last actions, newest first.

    Entries before the episode are zero; as an action, 0 does nothing in Craftax.
    """

    def __init__(self, env: Env, past: Past) -> None:
        self.ages = 2 ** np.arange(past.observations)
        self.past_actions = past.actions
        super().__init__(SequenceHistoryWrapper(env, max(1, *self.ages + 1, past.actions)))

    def reset(self, key: jax.Array, params: Any) -> Worlds:
        """The first observation; nothing has happened before."""
        obs, state = self.env.reset(key, params)
        return self._with_past(obs, state), state

    def step(self, key: jax.Array, state: HistoryState, action: jax.Array, params: Any) -> Outcome:
        """Act."""
        obs, state, reward, done, info = self.env.step(key, state, action, params)
        return self._with_past(obs, state), state, reward, done, info

    def _with_past(self, obs: jax.Array, state: HistoryState) -> jax.Array:
        earlier = state.observations[-1 - self.ages].reshape(-1)
        actions = jnp.flip(state.actions)[: self.past_actions]
        return jnp.concatenate([obs, earlier, actions.astype(obs.dtype)])


def with_past(game: Game, network: DenoiserConfig | None) -> Game:
    """The game with the observations that a planner's network needs."""
    if network is None:
        return game
    past = Past(network.past_observations, network.past_actions, network.past_progress)
    env, dim = game.env, game.obs_dim
    if past.progress:
        env, dim = ProgressWrapper(env, game.achievements), dim + len(game.achievements) + 1
    if past.observations or past.actions:
        env, dim = PastWrapper(env, past), dim * (1 + past.observations) + past.actions
    return replace(game, env=env, obs_dim=dim, past=past)


def game_state(state: LogState) -> Any:
    """The game's own state, without those of the wrappers for log and past."""
    inner = state.env_state
    return inner.env_state if isinstance(inner, HistoryState) else inner


def _slide(window: jax.Array, newest: jax.Array) -> jax.Array:
    """Drop the oldest of a window [L, ...] and append the newest [...]."""
    return jnp.concatenate([window[1:], newest[None].astype(window.dtype)])
