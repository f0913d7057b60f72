"""Pictures of a state."""

import jax.numpy as jnp

from craftax.craftax_classic.constants import load_all_textures_given_size


def load_all_textures():
    return {16: load_all_textures_given_size(16)}


def make_craftax_pixel_renderer(size):
    tiles = load_all_textures()[size]["block_textures"]
    # [rows, columns, size, size, 3] as one picture.
    return lambda state: jnp.concatenate(jnp.concatenate(tiles[state.map], axis=1), axis=1)
