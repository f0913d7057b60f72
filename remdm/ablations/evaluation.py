"""How a policy scores and which actions it takes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from remdm.ablations.problem import Problem
from remdm.envs.batch import BatchEnv
from remdm.planners.denoising import make_sampler
from remdm.planners.learner import play_afresh, validation_metrics
from remdm.planners.policy import planner_policy
from remdm.training.algorithm import Metrics


class Evaluation(NamedTuple):
    """One policy, played in fresh worlds."""

    metrics: Metrics  # `val/...`
    counts: jax.Array  # [V], how often each action was taken
    bigrams: jax.Array  # [V, V], how often the second followed the first within an episode


def evaluate(problem: Problem, env: BatchEnv, key: jax.Array, params: Any) -> Evaluation:
    """Play `eval_steps` steps with plans that start afresh; a key always gives the same worlds."""
    config, denoiser = problem.config, problem.denoiser
    sampler = make_sampler(config, problem.network.diffusion_schedule, config.val_diffusion_steps)
    policy = planner_policy(denoiser, params, sampler, config.ablation_eval_replan, inpaint_history=False)
    data = play_afresh(key, env, policy, config.eval_steps)
    action, going_on = data.action, ~data.step.done[:-1]
    nothing = jnp.zeros(denoiser.num_tokens, jnp.int32)
    counts = nothing.at[action].add(1)
    bigrams = jnp.zeros((denoiser.num_tokens, denoiser.num_tokens), jnp.int32)
    bigrams = bigrams.at[action[:-1], action[1:]].add(going_on.astype(jnp.int32))
    return Evaluation(validation_metrics(data, env), counts, bigrams)
