"""What a planner is told of its episode beside what the game shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.ppo import PPOConfig
from remdm.envs.packing import pack, unpack
from remdm.envs.past import game_state, with_past
from remdm.experts.acting import expert_policy
from remdm.experts.network import init_params, make_network
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.play.policy import Policy
from remdm.play.rollout import rollout, start
from tests.test_planners import TOY_KEYS, train
from tests.tiers import slow_except
from tests.toy import GAME, LONGEST, MEMORY_GAME, NUM_ACTIONS, MemoryEnv, toy_env


def game_of(game=GAME, **keys):
    return with_past(game, build(DenoiserConfig, [*base_layers(None), Layer("test", keys)]))


def played(game, steps=40):
    """What a random player sees and does in two games [T, E, ...]."""
    env = toy_env(2, game=game)

    def act(key, state):
        return jax.random.randint(key, (2,), 0, game.num_actions), (), state.done

    state = start(jax.random.PRNGKey(0), env, ())
    _, data = jax.jit(lambda key: rollout(key, env, act, state, steps))(jax.random.PRNGKey(1))
    assert data.obs.shape == (steps, 2, game.obs_dim)
    assert (data.extras.sum(axis=0) > steps // LONGEST).all()  # episodes begin
    return jax.device_get(data)


def test_observations_tell_what_happened_since_the_episode_began():
    game = game_of(past_observations=3, past_actions=2, past_progress=True)
    assert (game.shown_dim, game.step_dim) == (GAME.obs_dim, GAME.obs_dim + 2 + 1)
    data, plain = played(game), played(GAME)
    *steps, actions = np.split(data.obs, np.arange(1, 5) * game.step_dim, axis=-1)
    now, achievements, reward = np.split(steps[0], [GAME.obs_dim, GAME.obs_dim + 2], axis=-1)
    np.testing.assert_array_equal(now, plain.obs)  # the same worlds, and the same play in them
    for env in range(2):
        for t in range(len(now)):
            age = next(k for k in range(t + 1) if data.extras[t - k, env])
            before = data.step.achievements[t - 1, env] & (age > 0)
            assert achievements[t, env].tolist() == before.tolist()
            assert reward[t, env] == (data.step.reward[t - 1, env] if age else 0)
            did = [data.action[t - k, env] if age >= k else 0 for k in (1, 2)]
            assert actions[t, env].tolist() == did
            for earlier, k in zip(steps[1:], (1, 2, 4), strict=True):
                assert (earlier[t, env] == (steps[0][t - k, env] if age >= k else 0)).all()


@pytest.mark.parametrize(
    ("keys", "more"),
    [({"past_actions": 2}, 2), ({"past_progress": True}, 3), ({"past_observations": 2}, 2 * GAME.obs_dim)],
)
def test_each_key_tells_its_part(keys, more):
    game = game_of(**keys)
    assert game.obs_dim == GAME.obs_dim + more
    assert game.shown_dim == GAME.obs_dim
    obs = played(game).obs
    np.testing.assert_array_equal(unpack(pack(obs, game), game), obs)
    assert pack(obs, game).bits.dtype == np.uint8


def test_a_game_of_which_nothing_is_asked_is_left_alone():
    assert with_past(GAME, None) is GAME
    assert game_of() == GAME
    for game in (GAME, game_of(past_actions=1), game_of(past_progress=True)):
        _, state = toy_env(2, game=game).reset(jax.random.PRNGKey(0))
        assert hasattr(game_state(state.env_state), "target")


@pytest.mark.parametrize("model", ["ppo", "ppo_rnn"])
def test_an_expert_does_not_see_the_past(model):
    config = build(PPOConfig, [*base_layers(None), Layer("test", {"layer_size": 8, "ppo_model_type": model})])
    network = make_network(config.network, NUM_ACTIONS)
    params = init_params(network, jax.random.PRNGKey(0), GAME.obs_dim)
    obs = jax.random.normal(jax.random.PRNGKey(1), (4, GAME.obs_dim))
    done, logits = jnp.zeros(4, bool), []
    for told in (0, 5):
        policy = expert_policy(network, params, 1.0, GAME.obs_dim if told else None)
        seen = jnp.pad(obs, ((0, 0), (0, told)), constant_values=7.0)
        logits.append(policy.logits(seen, done, policy.init(4))[0])
        drawn = policy.act(jax.random.PRNGKey(2), seen, jnp.zeros(4, jnp.int32), done, policy.init(4))[0]
        assert drawn.shape == (4,)
    np.testing.assert_array_equal(*logits)


def remembering_expert():
    """Does at every step what the cue says, which it sees at the first one only."""

    def act(params, key, obs, prev_action, done, memory):
        cue = jnp.where(done, obs[:, :2].argmax(-1), memory)
        return cue, cue

    return Policy(None, lambda batch_size: jnp.zeros(batch_size, jnp.int32), act)


LAST_ACTION = OfflineConfig, make_offline, {"past_actions": 1}, True
OTHERS = [
    (OnlineConfig, make_online, {"past_observations": 2, "past_progress": True}, True),
    (OnlineConfig, make_online, {}, False),
]


@pytest.mark.parametrize(
    ("model", "make", "keys", "remembers"), slow_except([LAST_ACTION, *OTHERS], [LAST_ACTION])
)
def test_who_is_told_of_the_past_remembers_the_cue(model, make, keys, remembers):
    """The cue was seen a few steps ago, and the expert's actions repeat it; without either, one guesses."""
    keys = {**TOY_KEYS, **keys, "plan_horizon": 2, "temperature": 1.0, "val_steps": 64}
    config = build(model, [*base_layers(None), Layer("test", keys)])
    env = toy_env(8, game=with_past(MEMORY_GAME, config.denoiser))
    algorithm = make(config, env, env, remembering_expert())
    state, _ = train(algorithm)
    score = algorithm.validate(jax.random.PRNGKey(1), algorithm.params(state))["val/score"]
    share = score / (64 / (MemoryEnv.WAIT + 1))
    assert share > 0.95 if remembers else share < 0.75
