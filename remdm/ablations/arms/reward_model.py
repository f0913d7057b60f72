"""Arm `reward_model`: returns predicted by a regression, which are not sparse."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from remdm.ablations.arm import Arm
from remdm.ablations.problem import Batch, Problem
from remdm.training.algorithm import Metrics
from remdm.training.optimizer import adamw

LAYERS, WIDTH = 2, 64
OPTIMIZER = adamw(1e-3, max_grad_norm=1.0)


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


def init_extra(problem: Problem, key: jax.Array, pretrained: Any) -> Regression:
    """An untrained model."""
    game, horizon = problem.env.game, problem.network.plan_horizon
    obs, plan = jnp.zeros((1, game.obs_dim)), jnp.zeros((1, horizon), jnp.int32)
    params = RewardModel(game.num_actions).init(key, obs, plan)
    return Regression(params, OPTIMIZER.init(params))


def fit(
    regression: Regression, batch: Batch, num_actions: int, steps: int
) -> tuple[Regression, jax.Array, jax.Array]:
    """Gradient steps on the mean squared error over valid windows.

    Returns:
        The fitted model, its predictions for the batch [B], and the last error.
    """
    model = RewardModel(num_actions)

    def error(params: Any) -> jax.Array:
        residual = model.apply(params, batch.obs, batch.plan) - batch.returns
        return jnp.sum(batch.valid * residual**2) / jnp.maximum(jnp.sum(batch.valid), 1)

    def step(regression: Regression, _: None) -> tuple[Regression, jax.Array]:
        value, gradient = jax.value_and_grad(error)(regression.params)
        updates, opt_state = OPTIMIZER.update(gradient, regression.opt_state, regression.params)
        return Regression(optax.apply_updates(regression.params, updates), opt_state), value

    regression, errors = jax.lax.scan(step, regression, length=steps)
    return regression, model.apply(regression.params, batch.obs, batch.plan), errors[-1]


def prepare(
    problem: Problem, key: jax.Array, batch: Batch, regression: Regression
) -> tuple[Batch, Regression, Metrics]:
    """Fit the model to the batch, then use its predictions as returns."""
    steps = problem.config.ablation_reward_model_steps
    regression, returns, error = fit(regression, batch, problem.env.game.num_actions, steps)
    return batch._replace(returns=returns), regression, {"train/reward_model_loss": error}


ARM = Arm(init_extra=init_extra, prepare=prepare)
