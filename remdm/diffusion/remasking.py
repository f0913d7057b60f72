"""The probability sigma that a committed token is re-masked (ReMDM, arXiv 2503.00307, section 4)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Eta = float | jax.Array
Strategy = Callable[[jax.Array, Eta, jax.Array, jax.Array], jax.Array]


def sigma_max(alpha_t: jax.Array, alpha_s: jax.Array) -> jax.Array:
    """Largest sigma of a valid posterior [..], min(1, (1 - alpha_s) / alpha_t) (ReMDM, eq. 5)."""
    return jnp.minimum(1.0, (1.0 - alpha_s) / jnp.maximum(alpha_t, 1e-12))


def rescale(largest: jax.Array, eta: Eta, psi: jax.Array, committed: jax.Array) -> jax.Array:
    """Eta * sigma_max for every token."""
    return jnp.broadcast_to(eta * largest, psi.shape)


def cap(largest: jax.Array, eta: Eta, psi: jax.Array, committed: jax.Array) -> jax.Array:
    """min(eta, sigma_max) for every token."""
    return jnp.broadcast_to(jnp.minimum(eta, largest), psi.shape)


def conf(largest: jax.Array, eta: Eta, psi: jax.Array, committed: jax.Array) -> jax.Array:
    """Eta * sigma_max * (1 - psi) for committed tokens."""
    return jnp.where(committed, eta * largest * (1.0 - psi), 0.0)


def conf_softmax(largest: jax.Array, eta: Eta, psi: jax.Array, committed: jax.Array) -> jax.Array:
    """Eta * sigma_max * softmax(-psi) over the row's committed tokens (ReMDM's own form; its eta is 1)."""
    # A row without committed tokens is all -inf, whose softmax is NaN; the next `where` replaces it.
    shares = jax.nn.softmax(jnp.where(committed, -psi, -jnp.inf), axis=-1)
    return jnp.where(committed, eta * largest * shares, 0.0)


# Every strategy: (sigma_max, eta, psi [B, H], committed [B, H]) -> sigma [B, H]. psi is a token's probability
# in the distribution from which it was drawn; committed tokens are unmasked and not locked.
STRATEGIES: dict[str, Strategy] = {
    "rescale": rescale,
    "cap": cap,
    "conf": conf,
    "conf_softmax": conf_softmax,
}
PER_TOKEN = frozenset({"conf", "conf_softmax"})
