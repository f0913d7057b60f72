"""Windows, their validity and weights, on arrays small enough to read."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from remdm.planners.window import (
    at_start,
    plans_from,
    return_weights,
    window_any,
    window_returns,
    window_validity,
)


def test_validity_by_hand():
    # One environment, T = 6, H = 3. The episode ends with action 2.
    done = jnp.array([0, 0, 1, 0, 0, 0], bool)[:, None]
    # Window 0 holds actions 0, 1, 2: the end after its last action is allowed. Windows 1 and 2 cross it.
    assert window_validity(done, 3)[:, 0].tolist() == [True, False, False, True]


def test_windows_of_one_action_are_always_valid():
    assert window_validity(jnp.ones((4, 2), bool), 1).all()


@settings(max_examples=50)
@given(done=hnp.arrays(bool, (9, 2)), horizon=st.integers(1, 9))
def test_validity_and_returns_equal_the_definition(done, horizon):
    reward = np.random.default_rng(0).integers(-2, 3, done.shape).astype(np.float32)
    valid = np.asarray(window_validity(jnp.asarray(done), horizon))
    returns = np.asarray(window_returns(jnp.asarray(reward), horizon))
    assert valid.shape == returns.shape == (9 - horizon + 1, 2)
    for t in range(valid.shape[0]):
        for e in range(2):
            assert valid[t, e] == (not done[t : t + horizon - 1, e].any())
            assert returns[t, e] == reward[t : t + horizon, e].sum()


def test_a_window_pairs_an_observation_with_the_actions_from_it_on():
    num_envs, horizon = 3, 4
    # Step t of environment e is 10 t + e.
    steps = 10 * jnp.arange(5)[:, None] + jnp.arange(num_envs)
    numbers = jnp.arange(2 * num_envs)
    assert at_start(steps, numbers).tolist() == [0, 1, 2, 10, 11, 12]
    plans = plans_from(steps, numbers, horizon)
    assert plans.shape == (6, horizon)
    assert plans[4].tolist() == [11, 21, 31, 41]


def test_a_window_with_any():
    x = jnp.array([[0, 0], [1, 0], [0, 0], [0, 0]], bool)
    assert window_any(x, 2).tolist() == [[True, False], [True, False], [False, False]]


def test_return_weights_by_hand():
    # max(., 0) = 0, 0, 1, 5 with mean 1.5: 0, 0, 2/3, 10/3, clipped to [0.1, 3]. The last crosses an end.
    returns, valid = jnp.array([-1.0, 0.0, 1.0, 5.0, 100.0]), jnp.array([True] * 4 + [False])
    weights = return_weights(returns, valid, 0.1, 3.0)
    assert np.asarray(weights)[:4] == pytest.approx([0.1, 0.1, 2 / 3, 3.0])
    assert np.asarray(return_weights(jnp.zeros(3), jnp.ones(3, bool), 0.1, 3.0)) == pytest.approx([0.1] * 3)
    nothing = return_weights(returns, jnp.zeros(5, bool), 0.1, 3.0)
    assert np.isfinite(nothing).all()
