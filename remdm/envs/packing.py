"""Observations in little memory, without loss: a symbolic view of the map is nothing but zeros and ones."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from remdm.envs.craftax import Game


class Packed(NamedTuple):
    """Observations [..., D] whose first entries are single bits."""

    bits: jax.Array  # [..., ceil(game.num_binary / 8)], bytes
    rest: jax.Array  # [..., D - game.num_binary]


def pack(obs: jax.Array, game: Game) -> Packed:
    """Observations [..., D] as `Packed`, 27 times smaller in full Craftax and 21 times in Classic."""
    binary, rest = jnp.split(obs, [game.num_binary], axis=-1)
    return Packed(jnp.packbits(binary != 0, axis=-1), rest)


def unpack(packed: Packed, game: Game) -> jax.Array:
    """The observations [..., D], bit for bit."""
    binary = jnp.unpackbits(packed.bits, axis=-1, count=game.num_binary)
    return jnp.concatenate([binary.astype(packed.rest.dtype), packed.rest], axis=-1)


def packed_size(game: Game) -> int:
    """Bytes of one packed observation."""
    obs = jax.ShapeDtypeStruct((game.obs_dim,), jnp.float32)
    return num_bytes(jax.eval_shape(lambda obs: pack(obs, game), obs))


def num_bytes(tree: Any) -> int:
    """Bytes of arrays, or of what has their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
