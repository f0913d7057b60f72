"""Sliding windows over a rollout, from which a planner learns.

Window (t, e) pairs observation t of environment e with the H actions from t on. Rollouts are
time-major, [T, E, ...]; windows have indices n = t * E + e, W = T - H + 1 per environment, and are
gathered by index, so that they are never in memory all at once.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

WEIGHT_FLOOR = 0.1  # the smallest return weight of a window


def at_start(tree: Any, indices: Any, later: Any = 0) -> Any:
    """Entries [N, ...] of arrays [T, E, ...] or [W, E, ...] at the starts of windows [N], or `later`."""
    return jax.tree.map(lambda x: x[indices // x.shape[1] + later, indices % x.shape[1]], tree)


def plans_from(action: Any, indices: Any, horizon: int) -> Any:
    """The actions of windows [N], or other values of each action: [T, E, ...] -> [N, H, ...]."""
    first, env = indices // action.shape[1], indices % action.shape[1]
    return action[first[:, None] + np.arange(horizon), env[:, None]]


def prefix_lengths(key: jax.Array, shape: tuple[int, ...], horizon: int, share: float) -> jax.Array | None:
    """How many first actions of a window are known: with probability `share` uniform in 1 to H - 1, else 0.

    For a share of 0, None, so that nothing is computed.
    """
    if share == 0:
        return None
    some_key, length_key = jax.random.split(key)
    lengths = jax.random.randint(length_key, shape, 1, horizon)
    return jnp.where(jax.random.uniform(some_key, shape) < share, lengths, 0)


def window_validity(done: jax.Array, horizon: int) -> jax.Array:
    """Whether a window stays within one episode.

    Args:
        done: whether the episode ended with action t [T, E].

    Returns:
        [W, E]; False iff an episode ended with one of the actions t..t+H-2. An end with the last
        action is allowed: all H actions belong to one episode.
    """
    return _window_sums(done.astype(jnp.int32), horizon - 1, horizon) == 0


def window_any(x: jax.Array, horizon: int) -> jax.Array:
    """Whether x is true at any step of a window: [T, E] -> [W, E]."""
    return _window_sums(x.astype(jnp.int32), horizon, horizon) > 0


def window_returns(reward: jax.Array, horizon: int) -> jax.Array:
    """Sum of the H rewards of every window: [T, E] -> [W, E]."""
    return _window_sums(reward, horizon, horizon)


def valid_mean(x: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of x over the windows that stay within one episode, arrays of one shape; 0 if none does."""
    return jnp.sum(x * valid) / jnp.maximum(jnp.sum(valid), 1)


def return_weights(returns: jax.Array, valid: jax.Array, low: Any, high: Any) -> jax.Array:
    """max(return, 0) over its mean, clipped to [low, high]; all `low` if no window has a positive return.

    The mean is over valid windows, because a window that crosses an episode's end is no plan.
    """
    gain = jnp.maximum(returns, 0.0)
    return jnp.clip(gain / jnp.maximum(valid_mean(gain, valid), 1e-8), low, high)


def _window_sums(x: jax.Array, length: int, horizon: int) -> jax.Array:
    """Sums of x[t : t + length] for each first time t of a window of `horizon`: [T, E] -> [W, E]."""
    total = jnp.cumsum(x, axis=0)
    total = jnp.concatenate([jnp.zeros_like(total[:1]), total])
    windows = x.shape[0] - horizon + 1
    return total[length : length + windows] - total[:windows]
