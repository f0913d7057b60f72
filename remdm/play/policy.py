"""Policies: two functions and the parameters they use."""

from collections.abc import Callable
from typing import Any

import jax
from flax import struct

Memory = Any
Act = Callable[[Any, jax.Array, jax.Array, jax.Array, jax.Array, Memory], tuple[jax.Array, Memory]]


@struct.dataclass
class Policy:
    """Plays E environments; a pytree, so that it passes through jit with its parameters as arrays."""

    params: Any
    init_fn: Callable[[int], Memory] = struct.field(pytree_node=False)
    act_fn: Act = struct.field(pytree_node=False)

    def init(self, batch_size: int) -> Memory:
        """The memory before the first step."""
        return self.init_fn(batch_size)

    def act(
        self, key: jax.Array, obs: jax.Array, prev_action: jax.Array, done: jax.Array, memory: Memory
    ) -> tuple[jax.Array, Memory]:
        """Choose actions.

        Args:
            obs: [E, D].
            prev_action: the last executed actions, which may differ from those proposed [E].
            done: whether `obs` is the first of a new episode [E].

        Returns:
            Actions [E] and the new memory.
        """
        return self.act_fn(self.params, key, obs, prev_action, done, memory)

    def __call__(self, key: jax.Array, state: Any) -> tuple[jax.Array, Memory, tuple[()]]:
        """Act on games in progress, a `PlayState`; there are no extras."""
        return *self.act(key, state.obs, state.prev_action, state.done, state.memory), ()

    def act_with_probabilities(
        self, key: jax.Array, state: Any, num_actions: int
    ) -> tuple[jax.Array, Memory, jax.Array]:
        """Act; also returns the actions' probabilities [E, V], by default 1 for the chosen action."""
        action, memory, _ = self(key, state)
        return action, memory, jax.nn.one_hot(action, num_actions)


def random_policy(num_actions: int) -> Policy:
    """Uniformly random actions."""

    def act(params: None, key: jax.Array, obs: jax.Array, *_: Any) -> tuple[jax.Array, Memory]:
        return jax.random.randint(key, obs.shape[:1], 0, num_actions), ()

    return Policy(None, lambda batch_size: (), act)
