"""The planner as a policy: model-predictive control with a denoised plan."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from remdm.diffusion.lookahead import can_look_ahead, sample_wanted
from remdm.diffusion.sampling import Sampler, sample
from remdm.models.denoiser import Denoiser
from remdm.play.cycle import PlanCycle, idle_cycle
from remdm.play.policy import Policy


class Planner(NamedTuple):
    """A network and the reverse process that draws plans from it."""

    denoiser: Denoiser
    sampler: Sampler

    def at(self, eta: jax.Array, temperature: jax.Array) -> "Planner":
        """The same planner with other settings of the sampler, which may be arrays []."""
        return self._replace(sampler=self.sampler._replace(eta=eta, temperature=temperature))

    @jax.named_scope("planning")
    def trace(
        self, key: jax.Array, params: Any, obs: jax.Array, history: jax.Array, hist_len: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Denoise plans whose first `hist_len` actions are those executed (inpainting, arXiv 2205.09991).

        Args:
            obs: [E, D], encoded once for all denoising steps.
            history: [E, H].
            hist_len: [E].

        Returns:
            Plans [E, H], and their tokens after every denoising step [steps, E, H].
        """
        encoding = self.denoiser.apply(params, obs, method="encode")
        return self.trace_encoded(key, params, encoding, history, hist_len)

    def trace_encoded(
        self, key: jax.Array, params: Any, encoding: jax.Array, history: jax.Array, hist_len: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """As `trace`, for observations that are encoded already [E, d_model]."""
        return sample(
            key,
            partial(self.denoiser.apply, params, encoding, method="denoise"),
            self.sampler,
            num_tokens=self.denoiser.num_tokens,
            locked_tokens=history,
            locked=jnp.arange(self.denoiser.plan_horizon) < hist_len[:, None],
        )

    def plans(self, key: jax.Array, params: Any, obs: jax.Array) -> jax.Array:
        """Plans [E, H] from the start, without executed actions."""
        zeros = jnp.zeros((len(obs), self.denoiser.plan_horizon), jnp.int32)
        return self.trace(key, params, obs, zeros, zeros[:, 0])[0]

    @jax.named_scope("planning")
    def wanted_plans(
        self,
        key: jax.Array,
        params: Any,
        obs: jax.Array,
        history: jax.Array,
        hist_len: jax.Array,
        wanted: jax.Array,
        block_size: int,
    ) -> jax.Array:
        """The plans of `trace` [E, H], correct where wanted [E, H] and arbitrary elsewhere.

        `block_size` environments are denoised at a time: in larger blocks each costs less, in smaller
        ones fewer are denoised unnecessarily.
        """
        encoding = self.denoiser.apply(params, obs, method="encode")
        return sample_wanted(
            key,
            lambda rows, tokens, t: self.denoiser.apply(params, encoding[rows], tokens, t, method="denoise"),
            self.sampler,
            num_tokens=self.denoiser.num_tokens,
            locked_tokens=history,
            locked=jnp.arange(self.denoiser.plan_horizon) < hist_len[:, None],
            wanted=wanted,
            block_size=block_size,
        )

    def policy(
        self, params: Any, replan_every: int, inpaint_history: bool, whole_plans: bool = True
    ) -> "PlannerPolicy":
        """Plan every `replan_every` steps and execute the plan in between.

        With `inpaint_history`, a plan is revised on the current observation with the executed actions
        locked, and starts afresh once H actions were executed. Without it, every plan starts afresh at
        the current observation, as the training windows do. A new episode always starts afresh.

        Without `whole_plans`, CPUs denoise only those actions of a plan that are executed before the next
        plan: the same actions, faster. The rest of the plans in memory is then arbitrary. On GPUs whole
        plans are faster, because they take fewer calls of the network, though with more rows each.
        """
        horizon = self.denoiser.plan_horizon
        wants_whole = whole_plans or jax.default_backend() != "cpu"
        looks_ahead = not wants_whole and replan_every < horizon and can_look_ahead(self.sampler)

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
                given = (key, params, obs, cycle.history, cycle.hist_len)
                if not looks_ahead:
                    return cycle.adopt(self.trace(*given)[0])
                ahead = jnp.arange(horizon) - cycle.hist_len[:, None]
                executed = (ahead >= 0) & (ahead < replan_every) & cycle.due[:, None]
                block_size = max(1, len(obs) // (2 * replan_every))  # half of the plans due at a step
                return cycle.adopt(self.wanted_plans(*given, executed, block_size))

            cycle = jax.lax.cond(jnp.any(cycle.due), replan, lambda cycle: cycle, cycle)
            return cycle.action, cycle

        return PlannerPolicy(params, init, act, self)


@struct.dataclass
class PlannerPolicy(Policy):
    """A policy that plans; `planner.trace` with its `params` gives its plans."""

    planner: Planner = struct.field(pytree_node=False)
