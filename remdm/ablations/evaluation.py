"""Scores and actions of a policy."""

from typing import Any

import jax
import jax.numpy as jnp

from remdm.ablations.problem import Problem
from remdm.envs.batch import BatchEnv
from remdm.planners.control import Planner
from remdm.planners.denoising import make_sampler
from remdm.planners.learner import play_afresh, validation_metrics
from remdm.play.rollout import first_episodes
from remdm.training.algorithm import Metrics


def evaluate(problem: Problem, env: BatchEnv, key: jax.Array, params: Any) -> Metrics:
    """Play `eval_steps` steps with plans that start afresh; a key always gives the same worlds.

    Returns:
        `val/...`; `first/return` [E], the return of each environment's first episode, whose mean is
        `val/first_return` and which pair two policies' evaluations by world; `actions/counts` [V], how often
        each action was taken; `actions/bigrams` [V, V], how often the second followed the first within an
        episode.
    """
    config, denoiser = problem.config, problem.planner.denoiser
    sampler = make_sampler(config.sampler, problem.network.diffusion_schedule, config.val_diffusion_steps)
    policy = Planner(denoiser, sampler).policy(params, config.ablation_eval_replan, inpaint_history=False)
    data = play_afresh(key, env, policy, config.eval_steps)
    action, going_on = data.action, ~data.step.done[:-1]
    counts = jnp.zeros(denoiser.num_tokens, jnp.int32)
    bigrams = jnp.zeros((denoiser.num_tokens, denoiser.num_tokens), jnp.int32)
    return {
        **validation_metrics(data, env),
        "first/return": first_episodes(data.step.reward, data.step.done)[0],
        "actions/counts": counts.at[action].add(1),
        "actions/bigrams": bigrams.at[action[:-1], action[1:]].add(going_on.astype(jnp.int32)),
    }
