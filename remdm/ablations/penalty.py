"""Divergences and entropies of predictions, which arms add to the loss on the same noised batch."""

import jax
import jax.numpy as jnp

from remdm.ablations.arm import Sample


def kl_divergence(logits: jax.Array, reference: jax.Array) -> jax.Array:
    """KL(softmax(logits) || softmax(reference)) of logits [.., V] -> [..]."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    log_q = jax.nn.log_softmax(reference.astype(jnp.float32))
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def entropy(logits: jax.Array) -> jax.Array:
    """Entropy in nats of softmax(logits), logits [.., V] -> [..]."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def mean_kl(sample: Sample) -> jax.Array:
    """Mean KL(current || pretrained) over masked positions []."""
    pretrained = sample.problem.logits(sample.pretrained, sample.batch, sample.noised)
    return sample.masked_mean(kl_divergence(sample.logits, pretrained))


def mean_entropy(sample: Sample) -> jax.Array:
    """Mean entropy over masked positions []."""
    return sample.masked_mean(entropy(sample.logits))
