"""A model of windows' returns."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from remdm.ablations.problem import Batch
from remdm.training.optimizer import adamw

LAYERS, WIDTH = 2, 64
LEARNING_RATE = 1e-3
MAX_GRAD_NORM = 1.0


class RewardModel(nn.Module):
    """The return of a window from its observation and its actions."""

    num_actions: int

    @nn.compact
    def __call__(self, obs: jax.Array, plan: jax.Array) -> jax.Array:
        """Observations [B, D], plans [B, H] -> returns [B]."""
        actions = jax.nn.one_hot(plan, self.num_actions).reshape(plan.shape[0], -1)
        x = jnp.concatenate([obs, actions], axis=1)
        for _ in range(LAYERS):
            x = nn.relu(nn.Dense(WIDTH)(x))
        return nn.Dense(1)(x)[:, 0]


@struct.dataclass
class Regression:
    """The model's parameters and its optimiser."""

    params: Any
    opt_state: optax.OptState


def _optimizer() -> optax.GradientTransformation:
    return adamw(LEARNING_RATE, MAX_GRAD_NORM)


def start_regression(key: jax.Array, obs_dim: int, horizon: int, num_actions: int) -> Regression:
    """An untrained model."""
    params = RewardModel(num_actions).init(key, jnp.zeros((1, obs_dim)), jnp.zeros((1, horizon), jnp.int32))
    return Regression(params, _optimizer().init(params))


def fit(
    regression: Regression, batch: Batch, num_actions: int, steps: int
) -> tuple[Regression, jax.Array, jax.Array]:
    """Gradient steps on the mean squared error over valid windows.

    Returns:
        The fitted model, what it says of the batch [B], and the last error.
    """
    model = RewardModel(num_actions)

    def error(params: Any) -> jax.Array:
        residual = model.apply(params, batch.obs, batch.plan) - batch.returns
        return jnp.sum(batch.valid * residual**2) / jnp.maximum(jnp.sum(batch.valid), 1)

    def step(regression: Regression, _: None) -> tuple[Regression, jax.Array]:
        value, gradient = jax.value_and_grad(error)(regression.params)
        updates, opt_state = _optimizer().update(gradient, regression.opt_state, regression.params)
        return Regression(optax.apply_updates(regression.params, updates), opt_state), value

    regression, errors = jax.lax.scan(step, regression, length=steps)
    return regression, model.apply(regression.params, batch.obs, batch.plan), errors[-1]
