"""Tiles, actions and achievements, and what tiles look like."""

from enum import Enum

import jax.numpy as jnp

OBS_DIM = (1, 1)
BlockType = Enum("BlockType", ())  # the view of the one tile is four mobs, of which one is the target
Action = Enum("Action", {"NOOP": 0, "LEFT": 1, "RIGHT": 2, "UP": 3})
Achievement = Enum("Achievement", {"COLLECT_SAPLING": 0, "COLLECT_WOOD": 1, "PLACE_TABLE": 2})


def load_all_textures_given_size(size):
    """Of the four kinds of tiles, each of a grey."""
    return {"block_textures": 60.0 * jnp.arange(4)[:, None, None, None] * jnp.ones((1, size, size, 3))}
