"""Trees of arrays."""

from typing import Any

import jax
import jax.numpy as jnp


def where(condition: jax.Array, new: Any, old: Any) -> Any:
    """Choose between trees of arrays, whose leading axes are those of `condition`."""

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        trailing = [1] * (jnp.ndim(old) - condition.ndim)
        return jnp.where(condition.reshape(*condition.shape, *trailing), new, old)

    return jax.tree.map(choose, new, old)
