"""What can be seen of a game: its pixels, its map, and where the player is."""

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
    """One state as it is seen; stacked over time, arrays are [T, ...]."""

    pixels: jax.Array  # [h, w, 3], uint8
    place: jax.Array  # [3]: floor, row and column
    world: jax.Array  # [floors, rows, columns], the kind of every block


@dataclass(frozen=True)
class Camera:
    """Takes shots of a game's states, and knows what is on them.

    Attributes:
        shoot: a state of one environment, as a shot.
        unlocked: achievements so far, of any states [.., A].
        tiles: what each kind of block looks like [B, TILE, TILE, 3], uint8.
        actions: names of the actions.
    """

    shoot: Callable[[Any], Shot]
    unlocked: Callable[[Any], jax.Array]
    tiles: np.ndarray
    actions: tuple[str, ...]


def load_camera(env_name: str) -> Camera:
    """The camera of one of the two games, with Craftax's own renderer."""
    if "Classic" in env_name:
        from craftax.craftax_classic import constants, renderer
    else:
        from craftax.craftax import constants, renderer
    textures = constants.load_all_textures_given_size(TILE)
    render = _make_renderer(renderer, textures)
    # The noise of the night would be another at every step, and most of what a film has to store.
    noise_key = jax.random.PRNGKey(0)

    def shoot(state: Any) -> Shot:
        floor = jnp.asarray(getattr(state, "player_level", 0), jnp.int32)
        world = state.map if state.map.ndim == 3 else state.map[None]
        pixels = render(state.replace(state_rng=noise_key))
        return Shot(
            pixels=jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8),
            place=jnp.concatenate([floor[None], state.player_position.astype(jnp.int32)]),
            world=world.astype(jnp.uint8),
        )

    actions = sorted(constants.Action, key=lambda action: action.value)
    return Camera(
        shoot=shoot,
        unlocked=lambda states: states.achievements.astype(bool),
        tiles=np.asarray(textures["block_textures"]).clip(0, 255).astype(np.uint8),
        actions=tuple(action.name.lower() for action in actions),
    )


def _make_renderer(renderer: Any, textures: dict[str, Any]) -> Callable[[Any], jax.Array]:
    """Craftax's renderer with textures of one size.

    Its own loader draws three sizes, which takes a minute, and keeps them in the installed package,
    where it may not write and where two processes collide.
    """
    loader = renderer.load_all_textures
    renderer.load_all_textures = lambda: {TILE: textures}
    try:
        return renderer.make_craftax_pixel_renderer(TILE)
    finally:
        renderer.load_all_textures = loader
