"""The experts' actor-critics, with the parameter paths of the public baselines.

All have the same signature: memory, observations [T, B, D] and whether each is the first of an episode
[T, B] -> the memory after, logits [T, B, A] and values [T, B, C], one for each of C critics.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import constant, orthogonal

from remdm.config.ppo import ExpertConfig
from remdm.experts.gru import GRUCell


class ScannedRNN(nn.Module):
    """Contains the cell at its path in the public layout."""

    features: int

    @nn.compact
    def __call__(self, hidden: jax.Array, x: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
        """As the cell."""
        return GRUCell(self.features, name="GRUCell_1")(hidden, x, done)


class ActorCritic(nn.Module):
    """An actor and critics, each with three hidden layers of its own, without memory."""

    num_actions: int
    layer_size: int
    num_critics: int = 1

    recurrent = False

    @nn.compact
    def __call__(self, memory: tuple, obs: jax.Array, first: jax.Array) -> tuple[tuple, jax.Array, jax.Array]:
        """As all networks of this module; `memory` is empty and `first` is ignored."""

        def head(index: int, features: int, scale: float) -> jax.Array:
            """The network whose first layer is number `4 * index`."""
            x = obs
            for layer in range(3):
                x = nn.tanh(_dense(self.layer_size, 2**0.5, f"Dense_{4 * index + layer}")(x))
            return _dense(features, scale, f"Dense_{4 * index + 3}")(x)

        values = [head(1 + critic, 1, 1.0) for critic in range(self.num_critics)]
        return memory, head(0, self.num_actions, 0.01), jnp.concatenate(values, axis=-1)

    def initial_state(self, batch_size: int) -> tuple:
        """Nothing."""
        return ()


class ActorCriticRNN(nn.Module):
    """Embedding, GRU, then an actor and a critic of two hidden layers each."""

    num_actions: int
    layer_size: int

    recurrent = True
    num_critics = 1

    @nn.compact
    def __call__(
        self, memory: jax.Array, obs: jax.Array, first: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As all networks of this module; `memory` is the state of the GRU [B, L]."""
        x = nn.relu(_dense(self.layer_size, 2**0.5, "Dense_0")(obs))
        memory, x = ScannedRNN(self.layer_size, name="ScannedRNN_0")(memory, x, first)

        actor = nn.relu(_dense(self.layer_size, 2.0, "Dense_1")(x))
        actor = nn.relu(_dense(self.layer_size, 2.0, "Dense_2")(actor))
        logits = _dense(self.num_actions, 0.01, "Dense_3")(actor)

        critic = nn.relu(_dense(self.layer_size, 2.0, "Dense_4")(x))
        critic = nn.relu(_dense(self.layer_size, 2.0, "Dense_5")(critic))
        return memory, logits, _dense(1, 1.0, "Dense_6")(critic)

    def initial_state(self, batch_size: int) -> jax.Array:
        """Zeros [B, L]."""
        return jnp.zeros((batch_size, self.layer_size))


Network = ActorCritic | ActorCriticRNN


def make_network(config: ExpertConfig, num_actions: int) -> Network:
    """The network of an expert's architecture."""
    if config.ppo_model_type == "ppo_rnn":
        return ActorCriticRNN(num_actions, config.layer_size)
    # RND's second critic values the intrinsic reward.
    num_critics = 2 if config.ppo_model_type == "ppo_rnd" else 1
    return ActorCritic(num_actions, config.layer_size, num_critics)


@partial(jax.jit, static_argnames=("network", "obs_dim"))
def init_params(network: Network, key: jax.Array, obs_dim: int) -> Any:
    """Fresh parameters; of several keys (`jax.vmap`) one after the other.

    Orthogonal matrices come from QR factorisations. Two batches of them at a time deadlock if XLA has only
    two threads (jaxlib 0.10.2).
    """

    @jax.custom_batching.sequential_vmap
    def init(key: jax.Array) -> Any:
        obs, first = jnp.zeros((1, 1, obs_dim)), jnp.zeros((1, 1), bool)
        return network.init(key, network.initial_state(1), obs, first)

    return init(key)


def _dense(features: int, scale: float, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=orthogonal(scale), bias_init=constant(0.0), name=name)


def param_shapes(config: ExpertConfig, obs_dim: int, num_actions: int) -> Any:
    """The shapes of the parameters of the network that a configuration describes."""
    network = make_network(config, num_actions)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)  # a real one would start JAX before its settings are made
    return jax.eval_shape(lambda key: init_params(network, key, obs_dim), key)
