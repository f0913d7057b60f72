"""Windows, their validity and weights, and the replay buffer, on arrays small enough to read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from remdm.planners.buffer import draw_places, empty_buffer, insert
from remdm.planners.window import return_weights, window_places, window_returns, window_validity


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


def test_places_pair_an_observation_with_the_actions_from_it_on():
    num_envs, horizon = 3, 4
    first, env, times = window_places(jnp.arange(2 * num_envs), num_envs, horizon)
    assert first.tolist() == [0, 0, 0, 1, 1, 1]
    assert env.tolist() == [0, 1, 2, 0, 1, 2]
    assert times[4].tolist() == [1, 2, 3, 4]


def test_return_weights_by_hand():
    # max(., 0) = 0, 0, 1, 5 with mean 1.5: 0, 0, 2/3, 10/3, clipped to [0.1, 3].
    weights = return_weights(jnp.array([-1.0, 0.0, 1.0, 5.0]), cap=3.0)
    assert np.asarray(weights) == pytest.approx([0.1, 0.1, 2 / 3, 3.0])
    assert np.asarray(return_weights(jnp.zeros(3), cap=3.0)) == pytest.approx([0.1] * 3)


def _numbered(buffer, first, count):
    numbers = jnp.arange(first, first + count)
    return insert(
        buffer, numbers[:, None] * jnp.ones(2), numbers[:, None] * jnp.ones(3, int), numbers % 2 == 0
    )


def test_buffer_overwrites_the_oldest():
    buffer = empty_buffer(7, 2, 3)
    buffer = _numbered(buffer, 0, 4)
    assert buffer.size == 4
    buffer = _numbered(buffer, 4, 4)
    # The eighth window took the place of the first.
    assert buffer.size == 7
    assert buffer.obs[:, 0].tolist() == [7, 1, 2, 3, 4, 5, 6]
    assert buffer.plan[:, 2].tolist() == [7, 1, 2, 3, 4, 5, 6]
    assert buffer.valid.tolist() == [False, False, True, False, True, False, True]
    buffer = _numbered(buffer, 8, 7)
    assert sorted(buffer.obs[:, 1].tolist()) == list(range(8, 15))


def test_buffer_draws_uniformly_from_what_is_filled():
    buffer = _numbered(empty_buffer(100, 2, 3), 0, 5)
    drawn = np.bincount(np.asarray(draw_places(jax.random.PRNGKey(0), buffer, (50_000,))), minlength=100)
    assert drawn[5:].sum() == 0
    # Standard error 0.0018; four of them.
    assert drawn[:5] / 50_000 == pytest.approx([0.2] * 5, abs=0.0072)
