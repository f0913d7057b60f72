"""What it costs to act on a plan, in a game of chance where it can be computed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from benchmarks.commitment import foreseen, gaps, play_committed, predicted, visit
from remdm.envs.craftax import Game
from remdm.models.denoiser import Denoiser
from remdm.play.policy import Policy
from tests.toy import toy_env

LENGTH, FACES = 7, 3


@struct.dataclass
class DiceState:
    face: jax.Array
    time: jax.Array


class DiceEnv:
    """Every step throws a die with three faces; to name the one that is shown earns 1."""

    def reset(self, key, params):
        state = DiceState(jax.random.randint(key, (), 0, FACES), jnp.zeros((), jnp.int32))
        return self._obs(state), state

    def step(self, key, state, action, params):
        reward = (action == state.face).astype(jnp.float32)
        state = DiceState(jax.random.randint(key, (), 0, FACES), state.time + 1)
        done = state.time == LENGTH
        return self._obs(state), state, reward, done, {"Achievements/ended": done * 100.0}

    def _obs(self, state):
        return jax.nn.one_hot(state.face, FACES)


DICE = Game(DiceEnv(), None, num_actions=FACES, obs_dim=FACES, achievements=("ended",))


@struct.dataclass
class Namer(Policy):
    """Names the face that is shown, for certain to the last digit of a float."""

    def logits(self, obs, done, memory):
        return 100.0 * obs, memory


@pytest.fixture(scope="module")
def namer():
    return Namer(None, lambda batch_size: (), lambda params, key, obs, *_: (obs.argmax(-1), ()))


@pytest.mark.parametrize(("every", "hits"), [(1, LENGTH), (2, 4 + 3 / FACES)])
def test_who_commits_itself_earns_what_chance_leaves(namer, every, hits):
    play = jax.jit(partial(play_committed, env=toy_env(64, game=DICE), every=every, num_steps=154))
    done, returns = map(np.asarray, play(jax.random.key(0), expert=namer))
    found = returns[done]
    assert len(found) == 64 * 154 / LENGTH
    # With a plan every second step, three throws of each episode are not seen, wherever it begins.
    noise = np.sqrt(3 * (1 / FACES) * (1 - 1 / FACES) / len(found)) * (every - 1)
    assert abs(found.mean() - hits) <= 4 * noise


def test_the_best_prediction_is_the_mean_over_what_may_happen(namer):
    env = toy_env(32, game=DICE)
    key = jax.random.key(1)
    visited = jax.jit(partial(visit, env=env, horizon=4, num_steps=40))(key, expert=namer)
    look = jax.jit(partial(foreseen, env=env, expert=namer, worlds=200))
    best = jax.lax.map(lambda x: look(key, state=x.state, action=x.action), visited)
    found = gaps(visited, np.asarray(best))
    # The face that is shown is known; of the others, all are alike.
    assert found[0] == pytest.approx(0.0, abs=1e-6)
    assert found[1:] == pytest.approx(np.full(3, np.log(FACES)), abs=0.02)


def test_gaps_are_of_plans_that_lie_within_one_episode(namer):
    visited = jax.jit(partial(visit, env=toy_env(4, game=DICE), horizon=4, num_steps=40))(
        jax.random.key(2), expert=namer
    )
    done = jnp.zeros_like(visited.done).at[:, 1].set(True)
    wrong = visited.probs.at[:, 2:].set(1 / FACES)
    assert gaps(visited, np.asarray(wrong))[:2] == pytest.approx([0.0, 0.0], abs=1e-6)
    with np.errstate(invalid="ignore"):
        assert np.isnan(gaps(visited._replace(done=done), np.asarray(wrong))[2:]).all()


@pytest.mark.parametrize("plan_horizon", [2, 6])
def test_a_planner_is_told_of_the_actions_before(plan_horizon):
    denoiser = Denoiser(
        num_tokens=FACES, plan_horizon=plan_horizon, d_model=8, n_heads=2, n_layers=1, d_ff=8,
        obs_encoder_layers=1, obs_encoder_width=8, time_scale=1.0, dropout_rate=0.0,
    )  # fmt: skip
    obs, action = jnp.eye(FACES), jnp.array([[0, 1, 2], [1, 2, 0], [2, 2, 2], [0, 0, 0]])
    tokens = jnp.zeros((3, plan_horizon), jnp.int32)
    params = jax.jit(denoiser.init)(jax.random.key(0), obs, tokens, jnp.ones(3))
    params["params"]["head"]["kernel"] = jax.random.normal(jax.random.key(1), (8, FACES))
    tell = jax.jit(partial(predicted, denoiser))
    before, after = tell(params, obs, action), tell(params, obs, action.at[1].set(0))
    assert before.shape == (min(4, plan_horizon), 3, FACES)
    changed = np.abs(np.asarray(before - after)).max(axis=(1, 2)) > 1e-6
    assert changed.tolist() == [False, False, True, True][: len(before)]
