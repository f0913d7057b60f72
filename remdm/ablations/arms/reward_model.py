"""Arm `reward_model`: returns as a regression sees them, which are nowhere sparse."""

from typing import Any

import jax

from remdm.ablations.arm import Arm
from remdm.ablations.problem import Batch, Problem
from remdm.ablations.reward import Regression, fit, start_regression
from remdm.training.algorithm import Metrics


def init_extra(problem: Problem, key: jax.Array, pretrained: Any) -> Regression:
    """An untrained model."""
    game = problem.env.game
    return start_regression(key, game.obs_dim, problem.network.plan_horizon, game.num_actions)


def prepare(
    problem: Problem, key: jax.Array, batch: Batch, regression: Regression
) -> tuple[Batch, Regression, Metrics]:
    """Fit the model to the batch, then take its word for the returns."""
    steps = problem.config.ablation_reward_model_steps
    regression, returns, error = fit(regression, batch, problem.env.game.num_actions, steps)
    return batch._replace(returns=returns), regression, {"train/reward_model_loss": error}


ARM = Arm(init_extra=init_extra, prepare=prepare)
