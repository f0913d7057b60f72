"""The expert's network, its losses by hand, and PPO on the toy game."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remdm.config.layers import Layer, base_layers, build
from remdm.config.ppo import PPOConfig
from remdm.experts.network import ActorCriticRNN, GRUCell, init_params
from remdm.experts.policy import expert_policy
from remdm.experts.ppo import Batch, gae, make_ppo, ppo_loss
from tests.toy import toy_env

TOY_KEYS = {
    "seed": 0, "layer_size": 16, "ppo_num_envs": 8, "ppo_num_steps": 16, "ppo_num_minibatches": 2,
    "ppo_total_timesteps": 8 * 16 * 60, "ppo_lr": 1e-2,
}  # fmt: skip


def ppo_config(**keys):
    return build(PPOConfig, [*base_layers(None), Layer("test", {**TOY_KEYS, **keys})])


def test_gru_equals_flax_and_forgets_at_the_start_of_an_episode():
    key = jax.random.PRNGKey(0)
    x, hidden = jax.random.normal(key, (5, 3, 4)), jax.random.normal(key, (3, 6))
    done = jnp.zeros((5, 3), bool).at[2, 1].set(True)
    cell = GRUCell(6)
    params = cell.init(key, hidden, x, done)
    # Biases are zero at first, which would hide a wrong one.
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    last, outputs = cell.apply(params, hidden, x, done)

    reference = nn.GRUCell(6)
    for t in range(5):
        hidden = jnp.where(done[t][:, None], 0.0, hidden)
        hidden, output = reference.apply(params, hidden, x[t])
        np.testing.assert_allclose(outputs[t], output, atol=1e-6)
    np.testing.assert_allclose(last, hidden, atol=1e-6)


def test_parameter_paths_are_those_of_the_public_baselines():
    params = init_params(ActorCriticRNN(4, 8), jax.random.PRNGKey(0), obs_dim=5)["params"]
    assert set(params) == {f"Dense_{i}" for i in range(7)} | {"ScannedRNN_0"}
    gates = params["ScannedRNN_0"]["GRUCell_1"]
    assert {gate: set(gates[gate]) for gate in gates} == {
        **{gate: {"kernel", "bias"} for gate in ("ir", "iz", "in", "hn")},
        **{gate: {"kernel"} for gate in ("hr", "hz")},
    }
    assert params["Dense_0"]["kernel"].shape == (5, 8)
    assert params["Dense_3"]["kernel"].shape == (8, 4)
    assert params["Dense_6"]["kernel"].shape == (8, 1)


def test_playing_step_by_step_equals_training_on_the_sequence():
    network = ActorCriticRNN(4, 8)
    params = init_params(network, jax.random.PRNGKey(0), obs_dim=5)
    obs = jax.random.normal(jax.random.PRNGKey(1), (6, 3, 5))
    done = jax.random.bernoulli(jax.random.PRNGKey(2), 0.3, (6, 3))
    _, logits, values = network.apply(params, network.initial_state(3), obs, done)
    hidden = network.initial_state(3)
    for t in range(6):
        hidden, step_logits, step_value = network.apply(params, hidden, obs[t][None], done[t][None])
        np.testing.assert_allclose(step_logits[0], logits[t], atol=1e-6)
        np.testing.assert_allclose(step_value[0], values[t], atol=1e-6)


def test_gae_by_hand():
    # gamma 0.5, lambda 0.5; the episode ends with the second action.
    # delta = 1 + 0.5 * 2 - 1 = 1;  0 - 2 = -2 (ended);  3 + 0.5 * 4 - 1 = 4.
    # A2 = 4;  A1 = -2 (nothing beyond the end);  A0 = 1 + 0.25 * -2 = 0.5.
    reward, value = jnp.array([[1.0], [0.0], [3.0]]), jnp.array([[1.0], [2.0], [1.0]])
    done = jnp.array([[False], [True], [False]])
    advantage = gae(reward, value, done, jnp.array([4.0]), 0.5, 0.5)
    assert advantage[:, 0].tolist() == [0.5, -2.0, 4.0]


def test_ppo_loss_at_the_behaviour_policy():
    """With ratio 1 the surrogate is minus the mean normalised advantage, which is 0."""
    config = ppo_config()
    network = ActorCriticRNN(4, 8)
    params = init_params(network, jax.random.PRNGKey(0), obs_dim=5)
    obs = jax.random.normal(jax.random.PRNGKey(1), (3, 2, 5))
    first, action = jnp.zeros((3, 2), bool), jnp.array([[0, 1], [2, 3], [1, 1]])
    _, logits, value = network.apply(params, network.initial_state(2), obs, first)
    log_probs = jax.nn.log_softmax(logits)
    log_prob = jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]
    advantage = jnp.arange(6.0).reshape(3, 2)
    batch = Batch(network.initial_state(2), obs, first, action, log_prob, value, advantage, value + 2.0)
    loss, metrics = ppo_loss(params, network, batch, config)
    assert metrics["ppo/policy_loss"] == pytest.approx(0.0, abs=1e-6)
    # Every target is 2 off: 0.5 * 2^2.
    assert metrics["ppo/value_loss"] == pytest.approx(2.0, rel=1e-5)
    entropy = -float((jnp.exp(log_probs) * log_probs).sum(-1).mean())
    assert metrics["ppo/entropy"] == pytest.approx(entropy, rel=1e-5)
    assert loss == pytest.approx(0.5 * 2.0 - 0.01 * entropy, rel=1e-5)
    assert metrics["ppo/kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["ppo/clip_fraction"] == 0.0


def test_ppo_learns_the_toy_game():
    """Chance earns 0.25 a step and perfect play 1."""
    algorithm = make_ppo(ppo_config(), toy_env(8))

    @jax.jit
    def train(key):
        return jax.lax.scan(
            lambda state, _: algorithm.update(state), algorithm.init(key), length=algorithm.num_updates
        )

    _, metrics = train(jax.random.PRNGKey(0))
    assert metrics["env/reward"][0] < 0.4
    assert metrics["env/reward"][-5:].mean() > 0.9
    assert metrics["ppo/entropy"][-1] < metrics["ppo/entropy"][0]


def test_expert_policy_draws_at_its_temperature():
    network = ActorCriticRNN(4, 8)
    params = init_params(network, jax.random.PRNGKey(3), obs_dim=5)
    params["params"]["Dense_3"]["bias"] = jnp.array([0.0, 1.0, 0.5, 0.0])
    obs, batch = jnp.ones((20_000, 5)), 20_000
    none = jnp.zeros(batch, int), jnp.ones(batch, bool)

    def act(temperature):
        policy = expert_policy(network, params, temperature)
        return policy.act(jax.random.PRNGKey(0), obs, *none, policy.init(batch))[0]

    _, logits, _ = network.apply(params, network.initial_state(1), obs[None, :1], jnp.ones((1, 1), bool))
    greedy = act(0.0)
    assert (greedy == logits[0, 0].argmax()).all()
    for temperature in (0.5, 1.0):
        expected = np.asarray(jax.nn.softmax(logits[0, 0] / temperature))
        shares = np.bincount(np.asarray(act(temperature)), minlength=4) / batch
        # Standard errors below 0.0036; four of them.
        assert shares == pytest.approx(expected, abs=0.0144)
