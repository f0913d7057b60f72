"""The expert's network, its losses by hand, and PPO on the toy game."""

import re
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from remdm.base.errors import UserError
from remdm.config.layers import Layer, base_layers, build
from remdm.config.ppo import PPOConfig
from remdm.envs.batch import Step
from remdm.experts.acting import expert_policy
from remdm.experts.exploration import Experience, elliptical_bonus, make_exploration
from remdm.experts.gru import GRUCell
from remdm.experts.network import ActorCritic, ActorCriticRNN, init_params
from remdm.experts.ppo import RolloutBatch, gae, make_ppo, ppo_loss, streams
from remdm.play.rollout import PlayState
from remdm.training.loop import train
from tests.kill import read_metrics
from tests.tiers import slow_except
from tests.toy import CHAIN_GAME, MEMORY_GAME, toy_env

TOY_KEYS = {
    "seed": 0, "layer_size": 16, "ppo_num_envs": 8, "ppo_num_steps": 16, "ppo_num_minibatches": 2,
    "ppo_total_timesteps": 8 * 16 * 60, "ppo_lr": 1e-2,
}  # fmt: skip


def ppo_config(**keys):
    return build(PPOConfig, [*base_layers(None), Layer("test", {**TOY_KEYS, **keys})])


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_gru_equals_flax_and_forgets_at_the_start_of_an_episode(monkeypatch, platform):
    """Outputs, and the gradients by every input, of which those of the sequence are written by hand."""
    monkeypatch.setattr("remdm.experts.gru.jax.default_backend", lambda: platform)
    key = jax.random.PRNGKey(0)
    x, hidden = jax.random.normal(key, (5, 3, 4)), jax.random.normal(key, (3, 6))
    first = jnp.zeros((5, 3), bool).at[2, 1].set(True)
    cell, reference = GRUCell(6), nn.GRUCell(6)
    params = cell.init(key, hidden, x, first)
    # Biases are zero at first, which would hide a wrong one.
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)

    def by_flax(params, hidden, x):
        outputs = []
        for t in range(5):
            hidden, output = reference.apply(params, jnp.where(first[t][:, None], 0.0, hidden), x[t])
            outputs.append(output)
        return hidden, jnp.stack(outputs)

    def ours(params, hidden, x):
        return cell.apply(params, hidden, x, first)

    weights = jax.random.normal(key, (6, 3, 6))

    def weighted(function):
        def loss(*arguments):
            last, outputs = function(*arguments)
            return jnp.sum(weights[0] * last) + jnp.sum(weights[1:] * outputs)

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))

    for function in (lambda f: f, weighted):
        got, expected = function(ours)(params, hidden, x), function(by_flax)(params, hidden, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected)


@pytest.mark.parametrize(("num_critics", "layers"), [(1, 8), (2, 12)])
def test_feed_forward_parameter_paths_are_those_of_the_public_baselines(num_critics, layers):
    network = ActorCritic(4, 8, num_critics)
    params = init_params(network, jax.random.PRNGKey(0), obs_dim=5)["params"]
    assert set(params) == {f"Dense_{i}" for i in range(layers)}
    shapes = {name: dense["kernel"].shape for name, dense in params.items()}
    assert [shapes[f"Dense_{i}"] for i in range(4)] == [(5, 8), (8, 8), (8, 8), (8, 4)]
    for first in range(4, layers, 4):
        assert [shapes[f"Dense_{first + i}"] for i in range(4)] == [(5, 8), (8, 8), (8, 8), (8, 1)]
    _, logits, values = network.apply({"params": params}, (), jnp.ones((3, 2, 5)), jnp.zeros((3, 2), bool))
    assert logits.shape == (3, 2, 4)
    assert values.shape == (3, 2, num_critics)


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


def test_no_batch_of_matrices_is_factorised():
    """Two batches at a time could wait for each other's threads for ever; a matrix needs none but its own."""
    network = ActorCriticRNN(4, 8)
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    init = jax.jit(jax.vmap(lambda key: init_params(network, key, obs_dim=5)))
    factorised = re.findall(r"geqrf.*: \(tensor<(.*?)xf32>", init.lower(keys).as_text())
    assert {shape.count("x") for shape in factorised} == {1}
    one = init_params(network, keys[1], obs_dim=5)
    jax.tree.map(lambda all_, x: np.testing.assert_array_equal(all_[1], x), init(keys), one)


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
    batch = RolloutBatch(
        network.initial_state(2), obs, first, action, log_prob, value, advantage, value + 2.0
    )
    loss, metrics = ppo_loss(params, network, batch, config)
    assert metrics["ppo/policy_loss"] == pytest.approx(0.0, abs=1e-6)
    # Every target is 2 off: 0.5 * 2^2.
    assert metrics["ppo/value_loss"] == pytest.approx(2.0, rel=1e-5)
    entropy = -float((jnp.exp(log_probs) * log_probs).sum(-1).mean())
    assert metrics["ppo/entropy"] == pytest.approx(entropy, rel=1e-5)
    assert loss == pytest.approx(0.5 * 2.0 - 0.01 * entropy, rel=1e-5)
    assert metrics["ppo/kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["ppo/clip_fraction"] == 0.0


def test_several_critics_have_each_their_loss():
    config = ppo_config(ppo_model_type="ppo_rnd")
    network = ActorCritic(4, 8, num_critics=2)
    params = init_params(network, jax.random.PRNGKey(0), obs_dim=5)
    obs = jax.random.normal(jax.random.PRNGKey(1), (1, 6, 5))
    first, action = jnp.zeros((1, 6), bool), jnp.array([[0, 1, 2, 3, 1, 1]])
    _, logits, value = network.apply(params, (), obs, first)
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]
    target = value + jnp.array([2.0, 1.0])
    batch = RolloutBatch((), obs, first, action, log_prob, value, jnp.arange(6.0)[None], target)
    _, metrics = ppo_loss(params, network, batch, config)
    # 0.5 * (2^2 + 1^2).
    assert metrics["ppo/value_loss"] == pytest.approx(2.5, rel=1e-5)


def test_single_steps_keep_what_belongs_together():
    obs = jnp.arange(24.0).reshape(3, 4, 2)
    numbers = jnp.arange(12).reshape(3, 4)
    batch = RolloutBatch(
        (), obs, numbers > 5, numbers, numbers * 1.0, numbers[..., None], numbers, numbers[..., None]
    )
    steps = batch.single_steps(jnp.array([7, 2]))
    assert steps.obs.tolist() == [[[14.0, 15.0], [4.0, 5.0]]]
    assert steps.action.tolist() == [[7, 2]]
    assert steps.first.tolist() == [[True, False]]
    assert steps.target.tolist() == [[[7], [2]]]


def learning(game, updates, seeds=3, **keys):
    """Metrics [seeds, updates] of PPO on a toy game, several seeds at once."""
    num_envs = keys.setdefault("ppo_num_envs", 8)
    config = ppo_config(ppo_total_timesteps=num_envs * 16 * updates, ppo_gae_lambda=0.95, **keys)
    algorithm = make_ppo(config, toy_env(num_envs, game=game))

    def train(key):
        return jax.lax.scan(
            lambda state, _: algorithm.update(state), algorithm.init(key), length=algorithm.num_updates
        )[1]

    metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.PRNGKey(0), seeds))
    return {name: np.asarray(x) for name, x in metrics.items()}


@pytest.mark.parametrize("model", slow_except(["ppo_rnn", "ppo"], ["ppo"]))
def test_ppo_learns_the_toy_game(model):
    """Chance earns 0.25 a step and perfect play 1."""
    metrics = learning(toy_env(1).game, updates=60, seeds=1, ppo_model_type=model)
    reward, entropy = metrics["env/reward"][0], metrics["ppo/entropy"][0]
    assert reward[0] < 0.4
    assert reward[-5:].mean() > 0.9
    assert entropy[-1] < entropy[0]


@pytest.mark.slow
def test_only_the_recurrent_expert_remembers():
    """What was seen three steps ago decides: 1 for whoever knows it, 1/2 for whoever guesses."""
    remembers = learning(MEMORY_GAME, updates=60, seeds=8, ppo_model_type="ppo_rnn")["env/episode_return"]
    guesses = learning(MEMORY_GAME, updates=60, ppo_model_type="ppo")["env/episode_return"]
    # One seed in six never finds out that there is something to remember, however long it trains.
    assert np.sum(remembers[:, -10:].mean(axis=1) > 0.95) >= 4
    # 320 episodes of three seeds each: a standard error of 0.03.
    assert guesses[:, -10:].mean(axis=1).max() < 0.6


CURIOUS = {
    "ppo_model_type": "ppo", "ppo_num_envs": 16, "rnd_layer_size": 32, "rnd_output_size": 16,
    "rnd_gae_coef": 1.0, "rnd_lr": 1e-3, "rnd_update_epochs": 2, "icm_layer_size": 16,
    "icm_latent_size": 8, "icm_lr": 1e-3, "e3b_reward_coef": 1e-3,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.optimised
def test_curiosity_finds_a_reward_that_chance_does_not():
    """The chain's only reward is at its end; the budget is the same for all."""

    def found(**keys):
        metrics = learning(CHAIN_GAME, updates=300, seeds=8, **{**CURIOUS, **keys})
        return np.sum(metrics["env/achievement/perfect"][:, -20:].mean(axis=1) > 0.5)

    # Of 48 seeds none, 40 and 45 of them, at least 5 and 6 of each 8. By chance a seed may find it.
    assert found() <= 1
    assert found(ppo_model_type="ppo_rnd") >= 4
    assert found(ppo_exploration="icm") >= 6


@pytest.mark.slow
def test_e3b_goes_where_the_episode_has_not_been():
    """Random play comes halfway in one episode of six; the bonus grows with every place."""

    def went(**keys):
        metrics = learning(CHAIN_GAME, updates=100, seeds=8, **{**CURIOUS, **keys})
        return np.sum(metrics["env/achievement/halfway"][:, -20:].mean(axis=1) > 0.8)

    # Of 48 seeds one, and 31 of them.
    assert went() <= 1
    assert went(ppo_exploration="e3b") >= 4


def test_elliptical_bonus_stays_positive():
    """Thousands of steps without an end, of latents that are large and nearly alike."""
    latent = 30 + jax.random.normal(jax.random.PRNGKey(0), (3000, 2, 8))
    fresh = 10 * jnp.eye(8)
    inverse, bonus = elliptical_bonus(jnp.stack([fresh, fresh]), latent, jnp.zeros((3000, 2), bool), fresh)
    assert bonus.min() >= 0
    assert np.linalg.eigvalsh(inverse).min() > 0


def test_elliptical_bonus_is_that_of_the_inverted_covariance():
    """The same by inverting the covariance at every step."""
    steps, envs, size, ridge = 6, 3, 4, 0.1
    latent = jax.random.normal(jax.random.PRNGKey(0), (steps, envs, size))
    done = jnp.zeros((steps, envs), bool).at[2, 1].set(True)
    fresh = jnp.eye(size) / ridge
    start = jnp.broadcast_to(fresh, (envs, size, size))
    inverse, bonus = elliptical_bonus(start, latent, done, fresh)
    for env in range(envs):
        covariance = ridge * np.eye(size)
        for t in range(steps):
            phi = np.asarray(latent[t, env], np.float64)
            expected = 0.0 if done[t, env] else phi @ np.linalg.inv(covariance) @ phi
            assert bonus[t, env] == pytest.approx(expected, rel=1e-4)
            covariance = ridge * np.eye(size) if done[t, env] else covariance + np.outer(phi, phi)
        np.testing.assert_allclose(inverse[env], np.linalg.inv(covariance), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("keys", [{"ppo_model_type": "ppo_rnd"}, {"ppo_exploration": "icm"}])
def test_what_was_seen_often_is_no_longer_novel(keys):
    config = ppo_config(**{**CURIOUS, **keys, "ppo_num_minibatches": 4})
    exploration = make_exploration(config, CHAIN_GAME, num_envs=8)
    # Places 0 to 4 were seen again and again; what follows place 5 never was.
    place = jnp.arange(17) % 5
    obs = jax.nn.one_hot(place, 11)[:, None].repeat(8, axis=1)
    action = (place[:16] % 4)[:, None].repeat(8, axis=1)
    seen = Experience(obs, action, jnp.zeros((16, 8), bool))

    def train(state, key):
        return exploration.update(key, state, seen)

    @jax.jit
    def trained():
        state = exploration.init(jax.random.PRNGKey(0))
        return jax.lax.scan(train, state, jax.random.split(jax.random.PRNGKey(1), 150))[0]

    state, reward = trained(), jax.jit(exploration.reward)
    unseen = Experience(
        jax.nn.one_hot(jnp.array([6, 7]), 11)[:, None].repeat(8, axis=1), action[:1], seen.done[:1]
    )
    novel, familiar = reward(state, unseen)[1], reward(state, seen)[1]
    assert novel.min() > 5 * familiar.max()
    # An action that ends its episode earns nothing: what it led to is not seen.
    ended = seen._replace(done=seen.done.at[3, 2].set(True))
    assert reward(state, ended)[1][3, 2] == 0.0


def test_experience_pairs_what_an_action_left_with_what_it_reached():
    obs = jnp.arange(24.0).reshape(4, 3, 2)  # four steps of three environments
    experience = Experience(obs, jnp.zeros((3, 3), int), jnp.zeros((3, 3), bool))
    numbers = jnp.array([0, 4, 8])
    assert experience.left(numbers).tolist() == [obs[0, 0].tolist(), obs[1, 1].tolist(), obs[2, 2].tolist()]
    assert experience.reached(numbers).tolist() == [obs[t + 1, t].tolist() for t in range(3)]


@pytest.mark.parametrize("episodic", [False, True])
def test_intrinsic_returns_of_rnd_go_on_beyond_the_end(episodic):
    """gamma = lambda = 1: an advantage is the sum of what follows, to the end of its return."""
    done = jnp.array([False, True, False, False])[:, None]
    none = jnp.zeros((4, 1))
    step = Step(jnp.ones((4, 1)), done, none, none, none)
    config = ppo_config(ppo_model_type="ppo_rnd", rnd_episodic=episodic, rnd_gae_coef=0.25)
    reward, ends, weights = streams(step, 10 * jnp.ones((4, 1)), config)
    advantage = gae(reward, jnp.zeros_like(reward), ends, jnp.zeros((1, 2)), 1.0, 1.0)[:, 0]
    assert advantage[:, 0].tolist() == [2, 1, 2, 1]
    assert advantage[:, 1].tolist() == ([20, 10, 20, 10] if episodic else [40, 30, 20, 10])
    assert weights.tolist() == [1, 0.25]


def test_other_explorations_add_to_the_games_reward():
    none = jnp.zeros((2, 1))
    step = Step(jnp.ones((2, 1)), jnp.array([[False], [True]]), none, none, none)
    reward, ends, weights = streams(step, jnp.array([[0.5], [0.0]]), ppo_config(ppo_exploration="icm"))
    assert reward[:, 0].tolist() == [[1.5], [1.0]]
    assert ends[:, 0].tolist() == [[False], [True]]
    assert weights.tolist() == [1]


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{"ppo_model_type": "ppo_rnd"}, {"ppo_exploration": "e3b"}])
def test_what_explores_resumes_bit_for_bit(keys, make_run):
    """Its networks, moments and covariances are part of the state."""
    config = ppo_config(**{**CURIOUS, "ppo_num_envs": 8, "ppo_total_timesteps": 8 * 16 * 6, **keys})
    algorithm = make_ppo(config, toy_env(8))
    [whole], _ = train(algorithm, 0, make_run(name="whole"))
    run = make_run(name="parts", checkpoint_every_minutes=1e-6, chunk_updates=1)
    with pytest.raises(UserError, match="update 4: ppo/loss = nan"):
        train(replace(algorithm, update=failing_after(algorithm.update, 3)), 0, run)
    assert list((run.state / "snapshots").glob("0*"))
    [resumed], _ = train(algorithm, 0, run)
    jax.tree.map(np.testing.assert_array_equal, whole.items(), resumed.items())
    tables = [read_metrics(result.folder) for result in (whole, resumed)]
    assert tables[0].equals(tables[1])


def failing_after(update, updates):
    """An update whose loss is not finite once as many are done; the optimiser counts them."""

    def failing(state):
        count = optax.tree.get(state.opt_state, "count", filtering=lambda path, _: "ScaleByAdam" in str(path))
        state, metrics = update(state)
        late = count >= updates * 8
        return state, {**metrics, "ppo/loss": jnp.where(late, jnp.nan, metrics["ppo/loss"])}

    return failing


def test_expert_policy_draws_at_its_temperature():
    network = ActorCriticRNN(4, 8)
    params = init_params(network, jax.random.PRNGKey(3), obs_dim=5)
    params["params"]["Dense_3"]["bias"] = jnp.array([0.0, 1.0, 0.5, 0.0])
    obs, batch = jnp.ones((20_000, 5)), 20_000
    none = jnp.zeros(batch, int), jnp.ones(batch, bool)

    def act(temperature):
        policy = expert_policy(network, params, temperature)
        state = PlayState(None, obs, *none, policy.init(batch))
        action, _, found = policy.act_with_probabilities(jax.random.PRNGKey(0), state, 4)
        assert (policy(jax.random.PRNGKey(0), state)[0] == action).all()
        return action, np.asarray(found)

    _, logits, _ = network.apply(params, network.initial_state(1), obs[None, :1], jnp.ones((1, 1), bool))
    greedy, found = act(0.0)
    assert (greedy == logits[0, 0].argmax()).all()
    assert (found == np.eye(4)[greedy]).all()
    for temperature in (0.5, 1.0):
        expected = np.asarray(jax.nn.softmax(logits[0, 0] / temperature))
        action, found = act(temperature)
        assert found == pytest.approx(np.tile(expected, (batch, 1)), rel=1e-4)
        shares = np.bincount(np.asarray(action), minlength=4) / batch
        # Standard errors below 0.0036; four of them.
        assert shares == pytest.approx(expected, abs=0.0144)
