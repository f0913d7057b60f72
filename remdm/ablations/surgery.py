"""Gradient surgery: PCGrad (arXiv 2001.06782), array by array."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

ROUNDING = 1e-12


class Projected(NamedTuple):
    """A gradient without the components that conflict with another."""

    gradient: Any
    removed_share: jax.Array  # [], of the squared norm
    conflicting: jax.Array  # [], arrays whose gradients conflict


def project(gradient: Any, other: Any) -> Projected:
    """Remove, in each array with g . o < 0, the component (g . o / o . o) o of its gradient."""
    # The gradient of a key's bias is only rounding errors, whose sign is no conflict.
    rounding = ROUNDING * jnp.sqrt(squared_norm(gradient) * squared_norm(other))

    def along(g: jax.Array, o: jax.Array) -> jax.Array:
        """The conflicting component's coefficient, 0 where there is no conflict."""
        dot = jnp.vdot(g, o)
        return jnp.where(dot < -rounding, dot / jnp.maximum(jnp.vdot(o, o), 1e-30), 0.0)

    coefficients = jax.tree.map(along, gradient, other)
    removed = jax.tree.map(lambda c, o: c * o, coefficients, other)
    share = squared_norm(removed) / jnp.maximum(squared_norm(gradient), 1e-30)
    conflicting = sum((c < 0).astype(jnp.float32) for c in jax.tree.leaves(coefficients))
    return Projected(
        jax.tree.map(jnp.subtract, gradient, removed), share, jnp.asarray(conflicting, jnp.float32)
    )


def squared_norm(tree: Any) -> jax.Array:
    """Sum of all squares []."""
    return dot(tree, tree)


def norm(tree: Any) -> jax.Array:
    """Euclidean norm of a tree []."""
    return jnp.sqrt(squared_norm(tree))


def dot(tree: Any, other: Any) -> jax.Array:
    """Inner product of two trees []."""
    return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, tree, other))


def cosine(tree: Any, other: Any) -> jax.Array:
    """Cosine of the angle between two trees []; 0 if one of them is zero."""
    norms = jnp.sqrt(squared_norm(tree) * squared_norm(other))
    return dot(tree, other) / jnp.maximum(norms, 1e-30)
