"""A trained expert as a policy."""

from typing import Any

import jax

from remdm.experts.network import Network
from remdm.play.policy import Memory, Policy


def expert_policy(network: Network, params: Any, temperature: float) -> Policy:
    """The expert's actions, drawn from its logits / temperature, or their argmax at temperature 0."""

    @jax.named_scope("expert")
    def act(
        params: Any, key: jax.Array, obs: jax.Array, prev_action: jax.Array, done: jax.Array, memory: Memory
    ) -> tuple[jax.Array, Memory]:
        hidden, logits, _ = network.apply(params, memory, obs[None], done[None])
        logits = logits[0]
        if temperature == 0.0:
            return logits.argmax(axis=-1), hidden
        return jax.random.categorical(key, logits / temperature), hidden

    return Policy(params, network.initial_state, act)
