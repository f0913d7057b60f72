"""A trained expert as a policy."""

from typing import Any

import jax
from flax import struct

from remdm.experts.network import Network
from remdm.play.policy import Memory, Policy


@struct.dataclass
class ExpertPolicy(Policy):
    """A policy that draws actions, and can be asked for their logits."""

    network: Network = struct.field(pytree_node=False)

    def logits(self, obs: jax.Array, done: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        """Logits of the actions [E, V] at observations [E, D], and the new memory."""
        return _logits(self.network, self.params, obs, done, memory)


def expert_policy(network: Network, params: Any, temperature: float) -> ExpertPolicy:
    """The expert's actions, drawn from its logits / temperature, or their argmax at temperature 0."""

    @jax.named_scope("expert")
    def act(
        params: Any, key: jax.Array, obs: jax.Array, prev_action: jax.Array, done: jax.Array, memory: Memory
    ) -> tuple[jax.Array, Memory]:
        logits, hidden = _logits(network, params, obs, done, memory)
        if temperature == 0.0:
            return logits.argmax(axis=-1), hidden
        return jax.random.categorical(key, logits / temperature), hidden

    return ExpertPolicy(params, network.initial_state, act, network)


def _logits(
    network: Network, params: Any, obs: jax.Array, done: jax.Array, memory: Memory
) -> tuple[jax.Array, Memory]:
    """One step of a network that takes sequences."""
    memory, logits, _ = network.apply(params, memory, obs[None], done[None])
    return logits[0], memory
