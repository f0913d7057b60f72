"""Lossless compression of observations: a symbolic view of the map contains only zeros and ones."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from remdm.envs.craftax import Game


class Packed(NamedTuple):
    """Observations [..., D] of F steps, each with `game.num_binary` binary entries first."""

    bits: jax.Array  # [..., F * ceil(game.num_binary / 8)], bytes
    rest: jax.Array  # [..., D - F * game.num_binary]


def pack(obs: jax.Array, game: Game) -> Packed:
    """Observations [..., D] as `Packed`, 27 times smaller in full Craftax and 21 times in Classic."""
    steps, actions = jnp.split(obs, [obs.shape[-1] - game.past.actions], axis=-1)
    steps = steps.reshape(*obs.shape[:-1], -1, game.step_dim)
    binary, rest = jnp.split(steps, [game.num_binary], axis=-1)
    bits = jnp.packbits(binary != 0, axis=-1)
    return Packed(_flat(bits), jnp.concatenate([_flat(rest), actions], axis=-1))


def unpack(packed: Packed, game: Game) -> jax.Array:
    """The observations [..., D], bit for bit."""
    rest, actions = jnp.split(packed.rest, [packed.rest.shape[-1] - game.past.actions], axis=-1)
    by_step = (*rest.shape[:-1], 1 + game.past.observations, -1)
    binary = jnp.unpackbits(packed.bits.reshape(by_step), axis=-1, count=game.num_binary)
    steps = jnp.concatenate([binary.astype(rest.dtype), rest.reshape(by_step)], axis=-1)
    return jnp.concatenate([_flat(steps), actions], axis=-1)


def _flat(steps: jax.Array) -> jax.Array:
    """[..., F, N] -> [..., F N]."""
    return steps.reshape(*steps.shape[:-2], -1)


def packed_size(game: Game) -> int:
    """Bytes of one packed observation."""
    obs = jax.ShapeDtypeStruct((game.obs_dim,), jnp.float32)
    return num_bytes(jax.eval_shape(lambda obs: pack(obs, game), obs))


def num_bytes(tree: Any) -> int:
    """Bytes of arrays, or of `jax.ShapeDtypeStruct`s."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
