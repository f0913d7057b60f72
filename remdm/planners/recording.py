"""A planner's actions, and how its plan for the first environment was denoised; for recordings."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.diffusion.details import sampling_details
from remdm.planners.control import PlannerPolicy
from remdm.play.cycle import PlanCycle
from remdm.play.rollout import PlayState

SHOWN_ACTIONS = 5  # of a distribution, the most probable


@struct.dataclass
class Denoising:
    """The S denoising steps of a plan of H actions; zeros if no plan was due."""

    due: jax.Array  # [], whether a plan was due
    locked: jax.Array  # [], how many of its actions had been executed
    tokens: jax.Array  # [S, H], after every step; the mask is the number of actions
    top_actions: jax.Array  # [S, H, A], the most probable actions, most probable first
    top_probs: jax.Array  # [S, H, A], their probabilities
    confidence: jax.Array  # [S, H], as in `remdm.diffusion.details.Details`
    remask: jax.Array  # [S, H], likewise


def act_recorded(
    policy: PlannerPolicy, key: jax.Array, state: PlayState
) -> tuple[jax.Array, PlanCycle, Denoising]:
    """The actions [E], the memory and the denoising of a planner whose memory holds whole plans.

    The action is that of `policy.act`, from the same random numbers.
    """
    planner = policy.planner
    cycle = state.memory.observe(state.prev_action, state.done)

    def replan(cycle: PlanCycle) -> tuple[PlanCycle, Any]:
        plans, traces = planner.trace(key, policy.params, state.obs, cycle.history, cycle.hist_len)
        return cycle.adopt(plans), _record(policy, state.obs[:1], cycle, traces[:, 0])

    def keep(cycle: PlanCycle) -> tuple[PlanCycle, Any]:
        shapes = jax.eval_shape(replan, cycle)[1]
        return cycle, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    due, locked = cycle.due[0], cycle.hist_len[0]
    cycle, recorded = jax.lax.cond(jnp.any(cycle.due), replan, keep, cycle)
    return cycle.action, cycle, Denoising(due, locked, *recorded)


def _record(
    policy: PlannerPolicy, obs: jax.Array, cycle: PlanCycle, trace: jax.Array
) -> tuple[jax.Array, ...]:
    """The arrays of a `Denoising` from its tokens [S, H], in small types."""
    planner = policy.planner
    denoiser = planner.denoiser
    encoding = denoiser.apply(policy.params, obs, method="encode")

    def denoise(tokens: jax.Array, t: jax.Array) -> jax.Array:
        encodings = jnp.repeat(encoding, len(tokens), axis=0)
        return denoiser.apply(policy.params, encodings, tokens, t, method="denoise")

    executed = jnp.arange(denoiser.plan_horizon) < cycle.hist_len[0]
    start = jnp.where(executed, cycle.history[0], denoiser.num_tokens)
    details = sampling_details(denoise, planner.sampler, start, trace, denoiser.num_tokens)
    top_probs, top_actions = jax.lax.top_k(details.probs, min(SHOWN_ACTIONS, denoiser.num_tokens))
    numbers = (top_probs, details.confidence, details.remask)
    probs, confidence, remask = (x.astype(jnp.float16) for x in numbers)
    return trace.astype(jnp.uint8), top_actions.astype(jnp.uint8), probs, confidence, remask
