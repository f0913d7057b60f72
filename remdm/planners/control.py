"""The planner as a policy: model-predictive control with a denoised plan."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.diffusion.lookahead import can_look_ahead, sample_wanted
from remdm.diffusion.sampling import Sampler, sample
from remdm.models.denoiser import Denoiser
from remdm.play.cycle import PlanCycle, idle_cycle
from remdm.play.policy import Policy


@jax.named_scope("planning")
def trace_plans(
    key: jax.Array,
    denoiser: Denoiser,
    params: Any,
    sampler: Sampler,
    obs: jax.Array,
    history: jax.Array,
    hist_len: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Denoise plans whose first `hist_len` actions are those executed (inpainting, arXiv 2205.09991).

    Args:
        obs: [E, D], encoded once for all denoising steps.
        history: [E, H].
        hist_len: [E].

    Returns:
        Plans [E, H], and their tokens after every denoising step [steps, E, H].
    """
    encoding = denoiser.apply(params, obs, method="encode")
    return sample(
        key,
        lambda tokens, t: denoiser.apply(params, encoding, tokens, t, method="denoise"),
        sampler,
        num_tokens=denoiser.num_tokens,
        locked_tokens=history,
        locked=jnp.arange(denoiser.plan_horizon) < hist_len[:, None],
    )


def plan_actions(
    key: jax.Array,
    denoiser: Denoiser,
    params: Any,
    sampler: Sampler,
    obs: jax.Array,
    history: jax.Array,
    hist_len: jax.Array,
) -> jax.Array:
    """The plans [E, H] of `trace_plans` alone."""
    return trace_plans(key, denoiser, params, sampler, obs, history, hist_len)[0]


def fresh_plans(
    key: jax.Array, denoiser: Denoiser, params: Any, sampler: Sampler, obs: jax.Array
) -> jax.Array:
    """Plans [E, H] of which nothing was executed yet."""
    nothing = jnp.zeros((len(obs), denoiser.plan_horizon), jnp.int32)
    return plan_actions(key, denoiser, params, sampler, obs, nothing, nothing[:, 0])


@struct.dataclass
class Planner(Policy):
    """A policy that plans, and can be asked for its plans."""

    denoiser: Denoiser = struct.field(pytree_node=False)
    sampler: Sampler = struct.field(pytree_node=False)

    def trace(
        self, key: jax.Array, obs: jax.Array, history: jax.Array, hist_len: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Plans and how they came about, as `trace_plans` returns them."""
        return trace_plans(key, self.denoiser, self.params, self.sampler, obs, history, hist_len)


@jax.named_scope("planning")
def plan_wanted_actions(
    key: jax.Array,
    denoiser: Denoiser,
    params: Any,
    sampler: Sampler,
    obs: jax.Array,
    history: jax.Array,
    hist_len: jax.Array,
    wanted: jax.Array,
    block_size: int,
) -> jax.Array:
    """The plans of `plan_actions` [E, H], right where wanted [E, H] and arbitrary elsewhere.

    So many environments are denoised at a time: in larger blocks each costs less, in smaller ones fewer
    are denoised in vain.
    """
    encoding = denoiser.apply(params, obs, method="encode")
    return sample_wanted(
        key,
        lambda rows, tokens, t: denoiser.apply(params, encoding[rows], tokens, t, method="denoise"),
        sampler,
        num_tokens=denoiser.num_tokens,
        locked_tokens=history,
        locked=jnp.arange(denoiser.plan_horizon) < hist_len[:, None],
        wanted=wanted,
        block_size=block_size,
    )


def planner_policy(
    denoiser: Denoiser,
    params: Any,
    sampler: Sampler,
    replan_every: int,
    inpaint_history: bool,
    whole_plans: bool = True,
) -> Planner:
    """Plan every `replan_every` steps and execute the plan in between.

    With `inpaint_history`, a plan is revised on the current observation with the executed actions
    locked, and starts afresh once H actions were executed. Without it, every plan starts afresh at
    the current observation, as the training windows do. A new episode always starts afresh.

    Without `whole_plans`, of a plan only those actions are denoised that are executed before the
    next one: the same actions, sooner. The rest of the plans in memory is then arbitrary.
    """
    horizon = denoiser.plan_horizon
    looks_ahead = not whole_plans and replan_every < horizon and can_look_ahead(sampler)

    def init(batch_size: int) -> PlanCycle:
        return idle_cycle(batch_size, horizon, replan_every, inpaint_history)

    def act(
        params: Any,
        key: jax.Array,
        obs: jax.Array,
        prev_action: jax.Array,
        done: jax.Array,
        memory: PlanCycle,
    ) -> tuple[jax.Array, PlanCycle]:
        cycle = memory.observe(prev_action, done)

        def replan(cycle: PlanCycle) -> PlanCycle:
            given = (key, denoiser, params, sampler, obs, cycle.history, cycle.hist_len)
            if not looks_ahead:
                return cycle.adopt(plan_actions(*given))
            ahead = jnp.arange(horizon) - cycle.hist_len[:, None]
            executed = (ahead >= 0) & (ahead < replan_every) & cycle.due[:, None]
            block_size = max(1, len(obs) // (2 * replan_every))  # half of the plans due at a step
            return cycle.adopt(plan_wanted_actions(*given, executed, block_size))

        cycle = jax.lax.cond(jnp.any(cycle.due), replan, lambda cycle: cycle, cycle)
        return cycle.action, cycle

    return Planner(params, init, act, denoiser, sampler)
