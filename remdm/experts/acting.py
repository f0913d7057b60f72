"""A trained expert as a policy."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from remdm.experts.network import Network
from remdm.play.policy import Memory, Policy


@struct.dataclass
class ExpertPolicy(Policy):
    """A policy that draws actions from its logits / temperature, or takes their argmax at temperature 0."""

    network: Network = struct.field(pytree_node=False)
    temperature: float = struct.field(pytree_node=False)
    seen: int | None = struct.field(pytree_node=False)

    def logits(self, obs: jax.Array, done: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        """Logits of the actions [E, V] at observations [E, D], and the new memory."""
        return _logits(self.network, self.params, obs, done, memory, self.seen)

    @jax.named_scope("expert")
    def act_with_probabilities(
        self, key: jax.Array, state: Any, num_actions: int
    ) -> tuple[jax.Array, Memory, jax.Array]:
        """Act; also returns the distribution [E, V] of the actions."""
        logits, memory = self.logits(state.obs, state.done, state.memory)
        action = _drawn(key, logits, self.temperature)
        if self.temperature == 0.0:
            return action, memory, jax.nn.one_hot(action, num_actions)
        return action, memory, jax.nn.softmax(logits / self.temperature)


def expert_policy(network: Network, params: Any, temperature: float, seen: int | None = None) -> ExpertPolicy:
    """The policy of a trained network, whose input is the first `seen` entries of an observation, or all."""

    @jax.named_scope("expert")
    def act(
        params: Any, key: jax.Array, obs: jax.Array, prev_action: jax.Array, done: jax.Array, memory: Memory
    ) -> tuple[jax.Array, Memory]:
        logits, hidden = _logits(network, params, obs, done, memory, seen)
        return _drawn(key, logits, temperature), hidden

    return ExpertPolicy(params, network.initial_state, act, network, temperature, seen)


def _drawn(key: jax.Array, logits: jax.Array, temperature: float) -> jax.Array:
    """Actions [E] from logits [E, V]."""
    if temperature == 0.0:
        return jnp.argmax(logits, axis=-1)
    return jax.random.categorical(key, logits / temperature)


def _logits(
    network: Network, params: Any, obs: jax.Array, done: jax.Array, memory: Memory, seen: int | None
) -> tuple[jax.Array, Memory]:
    """One step of a network that takes sequences."""
    memory, logits, _ = network.apply(params, memory, obs[None, :, :seen], done[None])
    return logits[0], memory
