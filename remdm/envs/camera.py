"""Pictures of a game's states: pixels, map, and the player's position."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

TILE = 16  # pixels, the size that Craftax's textures are drawn in


@struct.dataclass
class Shot:
    """A picture of one state; stacked over time, arrays are [T, ...]."""

    pixels: jax.Array  # [h, w, 3], uint8
    clear: jax.Array  # the same by day and awake
    light: jax.Array  # [], 1 by day, 0 in the darkest night; halved during sleep
    vitals: OrderedDict[str, jax.Array]  # health and the like, [] each
    inventory: OrderedDict[str, jax.Array]  # how many of each thing, [] each
    place: jax.Array  # [3]: floor, row and column
    world: jax.Array  # [floors, rows, columns], the kind of every block


@dataclass(frozen=True)
class Camera:
    """Takes pictures of a game's states, and describes their contents.

    Attributes:
        shoot: a state of one environment -> its picture.
        unlocked: states -> achievements so far [.., A].
        tiles: a picture of each kind of block [B, TILE, TILE, 3], uint8.
        actions: names of the actions.
        local_view: rows and columns of the visible blocks.
    """

    shoot: Callable[[Any], Shot]
    unlocked: Callable[[Any], jax.Array]
    tiles: np.ndarray
    actions: tuple[str, ...]
    local_view: tuple[int, int]


def load_camera(env_name: str) -> Camera:
    """The camera of one of the two games, with Craftax's own renderer."""
    vitals = ["health", "food", "drink", "energy"]
    if "Classic" in env_name:
        from craftax.craftax_classic import constants, renderer
    else:
        from craftax.craftax import constants, renderer

        vitals.append("mana")
    textures = constants.load_all_textures_given_size(TILE)
    render = _make_renderer(renderer, textures)
    # With a key per step, the noise of the night would differ at every step and take most of a film's memory.
    noise_key = jax.random.PRNGKey(0)

    def shoot(state: Any) -> Shot:
        floor = jnp.asarray(getattr(state, "player_level", 0), jnp.int32)
        world = state.map if state.map.ndim == 3 else state.map[None]
        seen = state.replace(state_rng=noise_key)
        light = jnp.where(floor == 0, state.light_level, 1.0) * (1.0 - 0.5 * state.is_sleeping)
        by_day = seen.replace(light_level=1.0, is_sleeping=False)
        # One after the other, so that the long program of the renderer is compiled once.
        pixels = jax.lax.map(render, jax.tree.map(lambda *both: jnp.array(both), seen, by_day))
        pixels, clear = jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)
        return Shot(
            pixels=pixels,
            clear=clear,
            light=light,
            vitals=OrderedDict((name, getattr(state, f"player_{name}")) for name in vitals),
            inventory=_counts(state.inventory),
            place=jnp.concatenate([floor[None], state.player_position.astype(jnp.int32)]),
            world=world.astype(jnp.uint8),
        )

    actions = sorted(constants.Action, key=lambda action: action.value)
    return Camera(
        shoot=shoot,
        unlocked=lambda states: states.achievements.astype(bool),
        tiles=np.asarray(textures["block_textures"]).clip(0, 255).astype(np.uint8),
        actions=tuple(action.name.lower() for action in actions),
        local_view=(int(constants.OBS_DIM[0]), int(constants.OBS_DIM[1])),
    )


def _counts(inventory: Any) -> OrderedDict[str, jax.Array]:
    """How many of each thing, [] each; things of several kinds are numbered."""
    counts: OrderedDict[str, jax.Array] = OrderedDict()
    for field in dataclasses.fields(inventory):
        kinds = jnp.asarray(getattr(inventory, field.name))
        names = [f"{field.name}_{i + 1}" for i in range(kinds.size)] if kinds.ndim else [field.name]
        counts.update(zip(names, kinds.reshape(-1), strict=True))
    return counts


def _make_renderer(renderer: Any, textures: dict[str, Any]) -> Callable[[Any], jax.Array]:
    """Craftax's renderer with textures of one size.

    Its own loader draws three sizes, which takes a minute, and stores them in the installed package, which
    may be read-only and where two processes collide.
    """
    loader = renderer.load_all_textures
    renderer.load_all_textures = lambda: {TILE: textures}
    try:
        return renderer.make_craftax_pixel_renderer(TILE)
    finally:
        renderer.load_all_textures = loader
