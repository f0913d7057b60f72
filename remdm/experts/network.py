"""The recurrent actor-critic, with the parameter paths of the public baselines."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import constant, orthogonal


class GRUCell(nn.Module):
    """A gated recurrent unit over a sequence (arXiv 1406.1078), equal to `flax.linen.GRUCell`.

    The input's share of the gates is one product over the whole sequence; only the state's stays
    in the scan. The state is zeroed at the first step of an episode, before the cell.
    """

    features: int

    def setup(self) -> None:  # noqa: D102
        # Parameter names of the layout; "in" is a Python keyword, hence by string.
        for gate in ("ir", "iz", "in"):
            setattr(self, gate, nn.Dense(self.features, name=gate))
        orthogonal_dense = {"features": self.features, "kernel_init": orthogonal()}
        self.hr = nn.Dense(**orthogonal_dense, use_bias=False)
        self.hz = nn.Dense(**orthogonal_dense, use_bias=False)
        self.hn = nn.Dense(**orthogonal_dense)

    def __call__(self, hidden: jax.Array, x: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
        """State [B, L], inputs [T, B, F], done [T, B] -> last state [B, L], outputs [T, B, L]."""
        inputs = (self.ir(x), self.iz(x), getattr(self, "in")(x))

        def step(cell: "GRUCell", hidden: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
            (input_r, input_z, input_n), first = now
            hidden = jnp.where(first[:, None], 0.0, hidden)
            r = nn.sigmoid(input_r + cell.hr(hidden))
            z = nn.sigmoid(input_z + cell.hz(hidden))
            n = nn.tanh(input_n + r * cell.hn(hidden))
            hidden = (1.0 - z) * n + z * hidden
            return hidden, hidden

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return scan(self, hidden, (inputs, done))


class ScannedRNN(nn.Module):
    """Holds the cell at the path the layout gives it."""

    features: int

    @nn.compact
    def __call__(self, hidden: jax.Array, x: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
        """As the cell."""
        return GRUCell(self.features, name="GRUCell_1")(hidden, x, done)


class ActorCriticRNN(nn.Module):
    """Embedding, GRU, then an actor and a critic of two hidden layers each."""

    num_actions: int
    layer_size: int

    @nn.compact
    def __call__(
        self, hidden: jax.Array, obs: jax.Array, done: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Play or train on a sequence.

        Args:
            hidden: state [B, L].
            obs: [T, B, D].
            done: whether an observation is the first of an episode [T, B].

        Returns:
            The state [B, L], logits [T, B, A] and values [T, B].
        """

        def dense(features: int, scale: float, name: str) -> nn.Dense:
            return nn.Dense(features, kernel_init=orthogonal(scale), bias_init=constant(0.0), name=name)

        x = nn.relu(dense(self.layer_size, 2**0.5, "Dense_0")(obs))
        hidden, x = ScannedRNN(self.layer_size, name="ScannedRNN_0")(hidden, x, done)

        actor = nn.relu(dense(self.layer_size, 2.0, "Dense_1")(x))
        actor = nn.relu(dense(self.layer_size, 2.0, "Dense_2")(actor))
        logits = dense(self.num_actions, 0.01, "Dense_3")(actor)

        critic = nn.relu(dense(self.layer_size, 2.0, "Dense_4")(x))
        critic = nn.relu(dense(self.layer_size, 2.0, "Dense_5")(critic))
        value = dense(1, 1.0, "Dense_6")(critic)
        return hidden, logits, value[..., 0]

    def initial_state(self, batch_size: int) -> jax.Array:
        """Zeros [B, L]."""
        return jnp.zeros((batch_size, self.layer_size))


def init_params(network: ActorCriticRNN, key: jax.Array, obs_dim: int) -> Any:
    """Fresh parameters."""
    return network.init(key, network.initial_state(1), jnp.zeros((1, 1, obs_dim)), jnp.zeros((1, 1), bool))
