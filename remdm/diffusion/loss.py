"""Forward masking and the continuous-time bound as a loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from remdm.diffusion.schedule import Schedule

MIN_TIME = 1e-5
MAX_WEIGHT = 1000.0


def add_noise(key: jax.Array, tokens: jax.Array, alpha: jax.Array, mask_token: int) -> jax.Array:
    """Draw z_t ~ q(z_t | x_0): each token is kept with probability alpha, else it is masked.

    Args:
        tokens: clean tokens [B, H].
        alpha: probability that a token is kept [B].

    Returns:
        Noised tokens [B, H].
    """
    kept = jax.random.uniform(key, tokens.shape) < alpha[:, None]
    return jnp.where(kept, tokens, mask_token)


def elbo_weight(schedule: Schedule, t: jax.Array, train_sigma: float) -> jax.Array:
    """Weight of the cross-entropy at times t [B], clipped to 1000 (MDLM, arXiv 2406.07524, eq. 10).

    `train_sigma` reduces the weight by the share that remasking accounts for (ReMDM, arXiv
    2503.00307, appendix: the bound of a remasking process is the plain one reweighted).
    """
    weight = -schedule.derivative(t) / jnp.maximum(1.0 - schedule.alpha(t), 1e-5)
    return jnp.minimum((1.0 - train_sigma) * weight, MAX_WEIGHT)


def cross_entropy(
    logits: jax.Array, tokens: jax.Array, label_smoothing: float, probabilities: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy [..] of logits [.., V] against (1 - eps) p + eps / V.

    p is one-hot at the tokens [..], or the distribution [.., V] from which they were drawn: its
    cross-entropy is the mean over such draws, without their noise (arXiv 1503.02531).
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    if probabilities is None:
        # No indexing, because its gradient is a scatter, which is slow on GPUs in deterministic runs.
        probabilities = jax.nn.one_hot(tokens, logits.shape[-1])
    expected = jnp.sum(probabilities * log_probs, axis=-1)
    return -(1.0 - label_smoothing) * expected - label_smoothing * jnp.mean(log_probs, axis=-1)


class Noised(NamedTuple):
    """A draw from the forward process."""

    tokens: jax.Array  # [B, H], some of them masked
    t: jax.Array  # [B]


class Terms(NamedTuple):
    """Contributions of each plan to the loss and its metrics."""

    loss: jax.Array  # [B]
    unweighted_loss: jax.Array  # [B]
    counted: jax.Array  # [B], masked tokens of valid plans
    correct: jax.Array  # [B], those predicted correctly


class Objective(NamedTuple):
    """Negative evidence lower bound of masked diffusion (MDLM, arXiv 2406.07524, eq. 10).

    The sum over masked positions is divided by H, not by their number, which would distort the bound by
    about 1 / (1 - alpha_t).
    """

    schedule: Schedule
    num_tokens: int  # V, which is also the mask token
    train_sigma: float = 0.0
    label_smoothing: float = 0.0

    def noise(
        self,
        key: jax.Array,
        plans: jax.Array,
        low: jax.Array | float = MIN_TIME,
        high: jax.Array | float = 1.0,
        known: jax.Array | None = None,
    ) -> Noised:
        """Draw t uniformly from [low, high) and z_t for clean plans [B, H].

        Args:
            known: how many first tokens of each plan are never masked, and thus not predicted [B].
        """
        time_key, noise_key = jax.random.split(key)
        t = jax.random.uniform(time_key, plans.shape[:1], minval=low, maxval=high)
        tokens = add_noise(noise_key, plans, self.schedule.alpha(t), self.num_tokens)
        if known is not None:
            tokens = jnp.where(jnp.arange(plans.shape[1]) < known[:, None], plans, tokens)
        return Noised(tokens, t)

    def terms(
        self,
        noised: Noised,
        logits: jax.Array,
        plans: jax.Array,
        valid: jax.Array,
        weights: jax.Array | None = None,
        probabilities: jax.Array | None = None,
    ) -> Terms:
        """The terms of the bound at a draw, plan by plan; a plan that is not valid adds nothing to any.

        Args:
            logits: predictions for the noised tokens [B, H, V].
            plans: clean tokens [B, H].
            valid: 1 if a plan counts, 0 if it crosses an episode's end [B].
            weights: non-negative factor of each plan's loss [B]; no gradient flows into it.
            probabilities: distributions from which tokens were drawn, labels in place of `plans` [B, H, V].
        """
        masked = noised.tokens == self.num_tokens
        counted = masked * valid.astype(jnp.float32)[:, None]
        each = cross_entropy(logits, plans, self.label_smoothing, probabilities)
        entropy = jnp.sum(counted * each, axis=1) / plans.shape[1]
        loss = elbo_weight(self.schedule, noised.t, self.train_sigma) * entropy
        if weights is not None:
            loss = jax.lax.stop_gradient(weights) * loss
        correct = (jnp.argmax(logits, axis=-1) == plans) * counted
        return Terms(loss, entropy, jnp.sum(counted, axis=1), jnp.sum(correct, axis=1))

    def metrics(self, terms: Terms, noised: Noised) -> dict[str, jax.Array]:
        """Means over a draw and its terms, scalars."""
        low, high = noised.t < 0.33, noised.t > 0.66

        def accuracy(where: jax.Array) -> jax.Array:
            return jnp.sum(terms.correct * where) / jnp.maximum(jnp.sum(terms.counted * where), 1.0)

        return {
            "loss": jnp.mean(terms.loss),
            "unweighted_loss": jnp.mean(terms.unweighted_loss),
            "accuracy": accuracy(jnp.ones_like(low)),
            "accuracy_low_t": accuracy(low),
            "accuracy_mid_t": accuracy(~low & ~high),
            "accuracy_high_t": accuracy(high),
            "frac_masked": jnp.mean(noised.tokens == self.num_tokens),
            "mean_t": jnp.mean(noised.t),
        }

    def loss(
        self,
        noised: Noised,
        logits: jax.Array,
        plans: jax.Array,
        valid: jax.Array,
        weights: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean of `terms` over plans [], and metrics; arguments as of `terms`."""
        terms = self.terms(noised, logits, plans, valid, weights)
        return jnp.mean(terms.loss), self.metrics(terms, noised)
