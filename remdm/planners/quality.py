"""Quality of plans, apart from their returns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from remdm.diffusion.loss import Objective
from remdm.diffusion.schedule import Schedule
from remdm.models.denoiser import Denoiser
from remdm.planners.control import Planner


class PlanQuality(NamedTuple):
    """Means over observations and over the plans drawn for each."""

    agreement: jax.Array  # [H], share of actions equal to the expert's, by position in the plan
    diversity: jax.Array  # [], see `diversity`
    remasked: jax.Array  # [T], share of all tokens that a step re-masks


def plan_quality(
    key: jax.Array, planner: Planner, params: Any, obs: jax.Array, expert_plan: jax.Array, num_plans: int
) -> PlanQuality:
    """Draw `num_plans` whole plans for each observation and measure them.

    Args:
        obs: [N, D].
        expert_plan: the expert's actions from the observation on [N, H].
    """
    denoiser = planner.denoiser
    encoding = jnp.tile(denoiser.apply(params, obs, method="encode"), (num_plans, 1))
    zeros = jnp.zeros((len(encoding), denoiser.plan_horizon), jnp.int32)
    plans, trace = planner.trace_encoded(key, params, encoding, zeros, zeros[:, 0])
    plans = plans.reshape(num_plans, *expert_plan.shape)
    return PlanQuality(
        agreement=jnp.mean(plans == expert_plan, axis=(0, 1)),
        diversity=diversity(plans),
        remasked=remasked(trace, denoiser.num_tokens),
    )


def diversity(plans: jax.Array) -> jax.Array:
    """Mean share of positions in which two plans for one observation differ (normalised Hamming distance).

    Args:
        plans: K for each of N observations [K, N, H], K > 1.

    Returns:
        A number [], 0 if all plans are equal.
    """
    first, second = jnp.triu_indices(plans.shape[0], k=1)
    return jnp.mean(plans[first] != plans[second])


def remasked(trace: jax.Array, mask_token: int) -> jax.Array:
    """Share of all tokens that each step re-masks; tokens after each step [T, B, H] -> [T]."""
    before, after = trace[:-1], trace[1:]
    share = jnp.mean((before != mask_token) & (after == mask_token), axis=(1, 2))
    return jnp.concatenate([jnp.zeros(1), share])  # before the first step all are masked


def nelbo(
    key: jax.Array,
    denoiser: Denoiser,
    params: Any,
    schedule: Schedule,
    obs: jax.Array,
    plan: jax.Array,
    num_draws: int,
) -> jax.Array:
    """The bound on -log p(plan | obs) / H in nats (MDLM, arXiv 2406.07524, eq. 10); no sampler is used.

    Args:
        obs: [N, D].
        plan: [N, H].
        num_draws: times and masks drawn for each plan, over which the bound is averaged.
    """
    objective = Objective(schedule, denoiser.num_tokens)
    encoding = denoiser.apply(params, obs, method="encode")

    def draw(key: jax.Array) -> jax.Array:
        noised = objective.noise(key, plan)
        logits = denoiser.apply(params, encoding, noised.tokens, noised.t, method="denoise")
        return objective.loss(noised, logits, plan, valid=jnp.ones(len(plan)))[0]

    return jnp.mean(jax.lax.map(draw, jax.random.split(key, num_draws)))
