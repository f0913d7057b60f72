"""The cycle of model-predictive control: plan, execute some of it, plan again."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class PlanCycle:
    """Each environment's plan and how far it has been executed.

    A plan is due in all environments once every `replan_every` steps, and in one environment when
    it starts afresh, at a new episode or after H actions. With `inpaint_history`, a plan due in
    between revises the one in execution: its first `hist_len` actions are those executed. Without
    it, every plan starts afresh at the current observation.
    """

    plan: jax.Array  # [E, H]
    history: jax.Array  # [E, H], its first `hist_len` are the actions executed since the plan began
    hist_len: jax.Array  # [E]
    due: jax.Array  # [E], whether a new plan must be adopted before the next action
    clock: jax.Array  # [], observations seen; one for all environments, which plan together
    replan_every: int = struct.field(pytree_node=False)
    inpaint_history: bool = struct.field(pytree_node=False)

    def observe(self, prev_action: jax.Array, first: jax.Array) -> "PlanCycle":
        """Advance to the next observation.

        Args:
            prev_action: the actions that led to it, whether proposed or not [E].
            first: whether it is the first of an episode [E].
        """
        now = jnp.arange(self.plan.shape[1]) == self.hist_len[:, None]
        executed = self.hist_len + 1
        afresh = first | (executed >= self.plan.shape[1])
        due = afresh | (self.clock % self.replan_every == 0)
        return dataclasses.replace(
            self,
            history=jnp.where(now, prev_action[:, None], self.history),
            hist_len=jnp.where(afresh if self.inpaint_history else due, 0, executed),
            due=due,
            clock=self.clock + 1,
        )

    def adopt(self, plan: jax.Array) -> "PlanCycle":
        """Adopt plans [E, H] where one is due, and ignore the others."""
        plan = jnp.where(self.due[:, None], plan, self.plan)
        return dataclasses.replace(self, plan=plan, due=jnp.zeros_like(self.due))

    @property
    def action(self) -> jax.Array:
        """The current actions of the plans [E]."""
        return self.plan[jnp.arange(self.plan.shape[0]), self.hist_len]


def idle_cycle(num_envs: int, horizon: int, replan_every: int, inpaint_history: bool) -> PlanCycle:
    """The cycle before the first observation."""
    return PlanCycle(
        plan=jnp.zeros((num_envs, horizon), jnp.int32),
        history=jnp.zeros((num_envs, horizon), jnp.int32),
        hist_len=jnp.zeros(num_envs, jnp.int32),
        due=jnp.zeros(num_envs, bool),
        clock=jnp.zeros((), jnp.int32),
        replan_every=replan_every,
        inpaint_history=inpaint_history,
    )
