"""Schedules and the training bound, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remdm.diffusion.loss import Objective, add_noise, cross_entropy, elbo_weight
from remdm.diffusion.schedule import SCHEDULES

V, H = 5, 8


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_runs_from_clean_to_masked_and_falls(name):
    alpha = SCHEDULES[name].alpha(jnp.linspace(0.0, 1.0, 101))
    assert alpha[0] == 1.0
    assert abs(alpha[-1]) < 1e-6
    assert (jnp.diff(alpha) < 0).all()


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=25)
@given(t=st.floats(0.01, 0.99))
def test_schedule_derivative_is_that_of_alpha(name, t):
    schedule = SCHEDULES[name]
    assert np.isclose(
        schedule.derivative(jnp.float32(t)), jax.grad(schedule.alpha)(jnp.float32(t)), rtol=1e-5
    )


def test_weight_by_hand():
    # Linear at t = 0.25: 1 / (1 - 0.75) = 4.
    # Cosine at t = 0.5: (pi / 2) sin(pi / 4) / (1 - cos(pi / 4)) = 3.7922.
    assert elbo_weight(SCHEDULES["linear"], jnp.float32(0.25), 0.0) == pytest.approx(4.0)
    assert elbo_weight(SCHEDULES["cosine"], jnp.float32(0.5), 0.0) == pytest.approx(3.7922, rel=1e-4)
    # train_sigma takes its share off; very small times are clipped.
    assert elbo_weight(SCHEDULES["linear"], jnp.float32(0.25), 0.5) == pytest.approx(2.0)
    assert elbo_weight(SCHEDULES["linear"], jnp.float32(1e-5), 0.0) == 1000.0


def test_add_noise_masks_with_probability_one_minus_alpha():
    tokens = jnp.zeros((2, 50_000), jnp.int32)
    noised = add_noise(jax.random.PRNGKey(0), tokens, jnp.array([0.2, 0.9]), V)
    masked = np.asarray((noised == V).mean(axis=1))
    # 50,000 draws: standard errors 0.0018 and 0.0013; four of them.
    assert masked == pytest.approx([0.8, 0.1], abs=0.0072)
    assert ((noised == V) | (noised == 0)).all()


def test_cross_entropy_smooths_labels():
    logits, eps = jnp.array([[2.0, 0.0, -1.0]]), 0.1
    log_probs = np.log(np.exp([2.0, 0.0, -1.0]) / np.exp([2.0, 0.0, -1.0]).sum())
    target = 0.9 * np.array([1.0, 0, 0]) + eps / 3
    assert cross_entropy(logits, jnp.array([0]), eps)[0] == pytest.approx(
        -(target * log_probs).sum(), rel=1e-6
    )
    assert cross_entropy(logits, jnp.array([0]), 0.0)[0] == pytest.approx(-log_probs[0], rel=1e-6)


def test_cross_entropy_with_a_distribution_is_the_mean_over_its_draws():
    logits, p = jnp.array([2.0, 0.0, -1.0]), jnp.array([0.2, 0.5, 0.3])
    tokens = jnp.arange(3)
    by_token = cross_entropy(jnp.tile(logits, (3, 1)), tokens, 0.1)
    found = cross_entropy(logits[None], tokens[:1], 0.1, p[None])
    assert found[0] == pytest.approx(float(p @ by_token), rel=1e-6)


def _loss(batch, schedule="linear", seed=0, valid=None, weights=None, **keys):
    """The loss and metrics of a model that knows nothing."""
    tokens = jax.random.randint(jax.random.PRNGKey(1), (batch, H), 0, V)
    objective = Objective(SCHEDULES[schedule], V, **keys)
    noised = objective.noise(jax.random.PRNGKey(seed), tokens)
    valid = jnp.ones(batch) if valid is None else valid
    return objective.loss(noised, jnp.zeros((batch, H, V)), tokens, valid, weights)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bound_of_a_uniform_model_is_log_v(schedule):
    """E_t[w(t) (1 - alpha_t)] = 1, so a model that knows nothing has the bound log V per token.

    Dividing by the number of masked tokens instead of H multiplies this by about 1 / (1 - alpha_t).
    """
    losses = jax.vmap(lambda seed: _loss(4096, schedule, seed)[0])(jnp.arange(8))
    error = losses.std(ddof=1) / np.sqrt(8)
    assert abs(losses.mean() - np.log(V)) < 5 * error
    assert error < 0.02 * np.log(V)


def test_loss_divides_by_horizon_and_not_by_masked_tokens():
    _, metrics = _loss(4096)
    # The unweighted loss is log V times the share of masked tokens, which is half on average over t.
    assert metrics["unweighted_loss"] == pytest.approx(np.log(V) * float(metrics["frac_masked"]), rel=1e-5)
    assert metrics["frac_masked"] == pytest.approx(0.5, abs=0.03)


def test_invalid_samples_count_nothing_but_stay_in_the_mean():
    valid = jnp.arange(64) % 2
    half, whole = _loss(64, valid=valid)[0], _loss(64, valid=jnp.ones(64))[0]
    weighted = _loss(64, weights=valid.astype(jnp.float32))[0]
    assert half == pytest.approx(float(weighted), rel=1e-6)
    assert half < whole
    assert _loss(64, valid=jnp.zeros(64))[0] == 0.0


def test_weights_scale_each_sample_and_pass_no_gradient():
    assert _loss(64, weights=jnp.full(64, 3.0))[0] == pytest.approx(3 * float(_loss(64)[0]), rel=1e-6)
    gradient = jax.grad(lambda w: _loss(64, weights=w)[0])(jnp.ones(64))
    assert (gradient == 0).all()


def test_what_is_known_of_a_plan_is_told_and_not_predicted():
    objective = Objective(SCHEDULES["cosine"], V)
    plans = jax.random.randint(jax.random.PRNGKey(1), (64, H), 0, V)
    known = jnp.arange(64) % H
    given = jnp.arange(H) < known[:, None]
    noised = objective.noise(jax.random.PRNGKey(0), plans, low=0.99, known=known)
    assert (noised.tokens == plans)[given].all()
    assert (noised.tokens == V)[~given].mean() > 0.9
    certain = 50.0 * jax.nn.one_hot(jnp.where(given, (plans + 1) % V, plans), V)  # wrong where it is told
    assert objective.loss(noised, certain, plans, jnp.ones(64))[0] < 1e-6


def test_train_sigma_scales_the_loss():
    assert _loss(64, train_sigma=0.25)[0] == pytest.approx(0.75 * float(_loss(64)[0]), rel=1e-6)


def test_accuracy_counts_valid_masked_positions_alone():
    tokens, objective = jnp.zeros((512, H), jnp.int32), Objective(SCHEDULES["cosine"], V)
    noised = objective.noise(jax.random.PRNGKey(0), tokens)
    # Right where masked, wrong where clean: accuracy must see only the former.
    logits = jax.nn.one_hot(jnp.where(noised.tokens == V, 0, 1), V)
    _, metrics = objective.loss(noised, logits, tokens, valid=jnp.ones(512))
    for name in ("accuracy", "accuracy_low_t", "accuracy_mid_t", "accuracy_high_t"):
        assert metrics[name] == 1.0
