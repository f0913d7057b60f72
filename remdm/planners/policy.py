"""The planner as a policy: model-predictive control with a denoised plan."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.diffusion.sampling import Sampler, sample
from remdm.envs.policy import Policy
from remdm.models.denoiser import Denoiser


@struct.dataclass
class PlannerMemory:
    """Each environment's plan and how far it has been executed.

    `history` holds the actions really executed since the plan began, `hist_len` of them; `clock`
    counts steps since all environments last planned together.
    """

    plan: jax.Array  # [E, H]
    history: jax.Array  # [E, H]
    hist_len: jax.Array  # [E]
    clock: jax.Array  # []


def plan_actions(
    key: jax.Array,
    denoiser: Denoiser,
    params: Any,
    sampler: Sampler,
    obs: jax.Array,
    history: jax.Array,
    hist_len: jax.Array,
) -> jax.Array:
    """Denoise plans whose first `hist_len` actions are those executed (inpainting, arXiv 2205.09991).

    Args:
        obs: [E, D], encoded once for all denoising steps.
        history: [E, H].
        hist_len: [E].

    Returns:
        Plans [E, H].
    """
    encoding = denoiser.apply(params, obs, method="encode")
    plan, _ = sample(
        key,
        lambda tokens, t: denoiser.apply(params, encoding, tokens, t, method="denoise"),
        sampler,
        num_tokens=denoiser.num_tokens,
        locked_tokens=history,
        locked=jnp.arange(denoiser.plan_horizon) < hist_len[:, None],
    )
    return plan


def planner_policy(
    denoiser: Denoiser, params: Any, sampler: Sampler, replan_every: int, inpaint_history: bool
) -> Policy:
    """Plan every `replan_every` steps and execute the plan in between.

    With `inpaint_history`, a plan is revised on the current observation with the executed actions
    locked, and starts afresh once H actions were executed. Without it, every plan starts afresh at
    the current observation, as the training windows do. A new episode always starts afresh.
    """
    horizon = denoiser.plan_horizon

    def init(batch_size: int) -> PlannerMemory:
        zeros = jnp.zeros((batch_size, horizon), jnp.int32)
        return PlannerMemory(zeros, zeros, jnp.zeros(batch_size, jnp.int32), jnp.zeros((), jnp.int32))

    def act(
        params: Any,
        key: jax.Array,
        obs: jax.Array,
        prev_action: jax.Array,
        done: jax.Array,
        memory: PlannerMemory,
    ) -> tuple[jax.Array, PlannerMemory]:
        envs = jnp.arange(obs.shape[0])
        history = memory.history.at[envs, memory.hist_len].set(prev_action)
        hist_len = memory.hist_len + 1
        afresh = done | (hist_len >= horizon)
        together = memory.clock % replan_every == 0
        due = together | afresh
        hist_len = jnp.where(due if not inpaint_history else afresh, 0, hist_len)

        def replan(old: jax.Array) -> jax.Array:
            new = plan_actions(key, denoiser, params, sampler, obs, history, hist_len)
            return jnp.where(due[:, None], new, old)

        plan = jax.lax.cond(jnp.any(due), replan, lambda old: old, memory.plan)
        return plan[envs, hist_len], PlannerMemory(plan, history, hist_len, memory.clock + 1)

    return Policy(params, init, act)
