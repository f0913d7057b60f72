"""The planner as a policy, and both ways to train it, on the toy game whose best plan is known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from remdm.config.layers import Layer, base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.diffusion.sampling import Sampler
from remdm.envs.packing import unpack
from remdm.models.denoiser import Denoiser
from remdm.planners.control import Planner
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.learner import Dataset, Labels, Learner, make_step
from remdm.planners.offline import expert_windows, make_offline
from remdm.planners.online import make_online
from remdm.planners.window import prefix_lengths
from remdm.play.planning import PlannerWrapper
from remdm.play.rollout import advance, rollout, start
from remdm.training.microbatch import even_size
from tests.tiers import slow_except
from tests.toy import GAME, LONGEST, NUM_ACTIONS, toy_env, toy_expert

TOY_KEYS = {
    "seed": 0, "plan_horizon": 4, "d_model": 32, "n_heads": 2, "n_layers": 1, "d_ff": 32,
    "obs_encoder_layers": 1, "obs_encoder_width": 32, "dropout_rate": 0.0, "num_envs": 8, "num_steps": 16,
    "num_minibatches": 4, "update_epochs": 4, "lr": 2e-3, "val_interval": 15, "val_steps": 32,
    "val_num_envs": 8,
    "val_diffusion_steps": 4, "val_replan_every": 2, "diffusion_steps": 4,
    "offline_total_timesteps": 8 * 16 * 30, "online_total_timesteps": 8 * 16 * 30, "dagger_buffer_max": 500,
    "dagger_beta_final": 0.1,
}  # fmt: skip
SAMPLER = Sampler(4, "cosine", "rescale", 0.5, True, 0.7, 0.3, 0.5, 0.95)


def config_of(model, **keys):
    return build(model, [*base_layers(None), Layer("test", {**TOY_KEYS, **keys})])


def train(algorithm, seed=0):
    @jax.jit
    def run(key):
        return jax.lax.scan(
            lambda state, _: algorithm.update(state), algorithm.init(key), length=algorithm.num_updates
        )

    return run(jax.random.PRNGKey(seed))


@pytest.fixture(scope="module")
def offline():
    algorithm = make_offline(config_of(OfflineConfig), toy_env(8), toy_env(8), toy_expert())
    return algorithm, *train(algorithm)


@pytest.fixture(scope="module")
def online():
    algorithm = make_online(config_of(OnlineConfig), toy_env(8), toy_env(8), toy_expert())
    return algorithm, *train(algorithm)


@pytest.mark.parametrize("method", ["offline", "online"])
def test_a_planner_learns_the_experts_plan(method, request):
    """The plan from target k is k, k + 1, ...; a window shifted by one would teach another."""
    algorithm, state, metrics = request.getfixturevalue(method)
    assert metrics["diffusion/accuracy"][0] < 0.6
    assert metrics["diffusion/accuracy"][-5:].mean() > 0.9

    denoiser = make_denoiser(config_of(OfflineConfig).denoiser, NUM_ACTIONS)
    obs = jnp.hstack([jnp.eye(NUM_ACTIONS), jnp.ones((NUM_ACTIONS, 1))])
    plans = jax.jit(Planner(denoiser, SAMPLER).plans)
    plan = plans(jax.random.PRNGKey(0), algorithm.params(state), obs)
    assert plan.tolist() == [[(k + h) % NUM_ACTIONS for h in range(4)] for k in range(NUM_ACTIONS)]
    # Validation plays 32 steps; perfect play earns 32.
    assert algorithm.validate(jax.random.PRNGKey(1), algorithm.params(state))["val/score"] > 30


def test_dagger_mixes_as_beta_says(online):
    _, state, metrics = online
    beta = np.asarray(metrics["dagger/beta"])
    assert beta[0] == 1.0
    assert beta[-1] == pytest.approx(0.1 ** (29 / 30), rel=1e-4)
    assert state.update == 30
    assert beta[1:] / beta[:-1] == pytest.approx(0.1 ** (1 / 30), rel=1e-4)
    # At first the expert alone acts, and hits everything; there is no action of the learner to compare.
    assert metrics["dagger/reward_mean"][0] == 1.0
    assert np.isnan(metrics["dagger/agreement"][0])
    assert state.buffer.size == state.buffer.capacity == 500


def test_dagger_labels_visited_states_with_the_expert():
    """With beta 0 the untrained learner acts, and every label is still the expert's."""
    config = config_of(OnlineConfig, dagger_beta_init=0.0, dagger_beta_final=None)
    algorithm = make_online(config, toy_env(8), toy_env(8), toy_expert())
    state, metrics = jax.jit(lambda key: algorithm.update(algorithm.init(key)))(jax.random.PRNGKey(0))
    assert int(state.buffer.size) == config.windows_per_update
    held = jax.tree.map(lambda x: x[: config.windows_per_update], state.buffer.items)
    plan, valid = np.asarray(held.plan), np.asarray(held.valid)
    targets = np.asarray(unpack(held.obs, GAME))[:, :NUM_ACTIONS].argmax(-1)
    assert (plan[:, 0] == targets).all()
    assert (plan[valid] == (targets[valid, None] + np.arange(4)) % NUM_ACTIONS).all()
    # Windows over an episode's end break the pattern, and only they do.
    broken = (plan != (targets[:, None] + np.arange(4)) % NUM_ACTIONS).any(axis=1)
    assert broken.any()
    assert not (broken & valid).any()
    assert metrics["dagger/reward_mean"] < 0.6


@pytest.mark.parametrize(("method", "model", "make"), [
    ("offline", OfflineConfig, make_offline), ("online", OnlineConfig, make_online),
])  # fmt: skip
def test_the_distribution_of_a_certain_expert_teaches_what_its_actions_do(method, model, make, request):
    """All its probability is on the action, so the loss is the same; a shifted window would have another."""
    _, _, of_actions = request.getfixturevalue(method)
    algorithm = make(config_of(model, soft_labels=True), toy_env(8), toy_env(8), toy_expert())
    update = jax.jit(algorithm.update)
    state, _ = update(algorithm.init(jax.random.PRNGKey(0)))
    _, metrics = update(state)
    for name in ("diffusion/loss", "diffusion/grad_norm", "diffusion/accuracy"):
        assert metrics[name] == pytest.approx(of_actions[name][1], rel=1e-4), name


def test_expert_windows_pair_observations_with_what_the_expert_did_next():
    """Every window that breaks the expert's pattern crosses an episode's end, and only those are invalid."""
    env, expert = toy_env(8), toy_expert()
    state = start(jax.random.PRNGKey(0), env, ())
    play = jax.jit(lambda key, s: rollout(key, env, expert, s, 40, lambda played: played.packed(GAME)))
    _, data = play(jax.random.PRNGKey(1), state)
    windows, _ = expert_windows(data, GAME, 4, 5.0)
    numbers = jnp.arange(37 * 8)
    obs, labels = windows.observe(numbers), windows.label(numbers)
    expected = (obs[:, :NUM_ACTIONS].argmax(-1)[:, None] + jnp.arange(4)) % NUM_ACTIONS
    broken = (labels.plan != expected).any(axis=1)
    assert broken.any()
    assert not (broken & labels.valid).any()
    # An observation tells how many steps are left: a window is whole iff there are at least H.
    steps_left = jnp.round(obs[:, -1] * LONGEST)
    assert ((steps_left >= 4) == labels.valid).all()
    assert (labels.weights == 1.0).all()


def test_windows_with_a_known_start_are_observed_after_it():
    env, expert = toy_env(8), toy_expert()
    state = start(jax.random.PRNGKey(0), env, ())
    play = jax.jit(lambda key, s: rollout(key, env, expert, s, 40, lambda played: played.packed(GAME)))
    _, data = play(jax.random.PRNGKey(1), state)
    known = prefix_lengths(jax.random.PRNGKey(2), (37, 8), 4, 0.75)
    # 296 windows: a standard error of 0.025; four of them.
    assert np.mean(known == 0) == pytest.approx(0.25, abs=0.1)
    assert set(np.unique(known)) == {0, 1, 2, 3}
    windows, _ = expert_windows(data, GAME, 4, 5.0, known)
    numbers = jnp.arange(37 * 8)
    obs, labels = windows.observe(numbers), windows.label(numbers)
    assert (labels.known == known.ravel()).all()
    # The observation says what is to be done now: the action after those that are known.
    now = obs[:, :NUM_ACTIONS].argmax(-1)
    assert (labels.plan[numbers, labels.known] == now)[labels.valid].all()


def test_offline_windows_are_the_experts_actions(offline):
    _, _, metrics = offline
    # Every step earns 1, so all windows weigh the same, and the expert's return is its episode's length.
    assert metrics["train/window_return"][0] == 4.0
    assert metrics["train/weight_mean"][0] == 1.0
    assert 0.4 < metrics["train/valid_fraction"][0] < 0.9


@pytest.mark.parametrize("share", slow_except([1.0, 0.4, 0.0], [0.4]))
def test_microbatches_add_up_to_the_gradient_of_the_minibatch(share):
    """Whatever share of windows is valid; 50 do not divide evenly into microbatches of at most 8."""
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    obs = jax.random.normal(keys[0], (80, GAME.obs_dim))
    labels = Labels(
        plan=jax.random.randint(keys[1], (80, 4), 0, NUM_ACTIONS),
        valid=jax.random.uniform(keys[2], (80,)) < share,
        weights=jax.random.uniform(keys[3], (80,)),
    )
    windows = Dataset(
        lambda numbers: obs[numbers], lambda numbers: jax.tree.map(lambda x: x[numbers], labels)
    )

    @partial(jax.jit, static_argnums=0)
    def step(microbatch_size):
        config = config_of(OfflineConfig, microbatch_size=microbatch_size)
        denoiser, optimizer = make_denoiser(config.denoiser, NUM_ACTIONS), optax.sgd(1.0)
        params = init_params(denoiser, jax.random.PRNGKey(1), GAME.obs_dim)
        learner = Learner(params, optimizer.init(params))
        numbers = jnp.arange(79, 29, -1)
        step = make_step(config, denoiser, optimizer)
        learner, metrics = step(jax.random.PRNGKey(2), learner, windows, numbers)
        return jax.tree.map(jnp.subtract, params, learner.params), metrics

    parts, whole = step(8), step(50)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), parts, whole)
    assert (optax.tree.norm(whole[0]) > 1e-3) == (share > 0)
    assert 0 < whole[1]["diffusion/frac_masked"] < 1


def test_every_microbatch_drops_out_on_its_own():
    seen = []

    class Spy:
        num_tokens = NUM_ACTIONS

        def apply(self, params, obs, tokens, t, deterministic, rngs):
            jax.debug.callback(lambda key: seen.append(tuple(key.tolist())), rngs["dropout"])
            return params * jnp.ones((*tokens.shape, NUM_ACTIONS))

    def label(numbers):
        return Labels(jnp.zeros((len(numbers), 4), int), jnp.ones(len(numbers), bool))

    config, optimizer = config_of(OfflineConfig, microbatch_size=8), optax.sgd(1.0)
    params = jnp.ones(())
    learner = Learner(params, optimizer.init(params))
    step = make_step(config, Spy(), optimizer)
    for key in jax.random.split(jax.random.PRNGKey(0)):
        step(key, learner, Dataset(lambda numbers: None, label), jnp.arange(50))
    jax.effects_barrier()
    assert len(set(seen)) == len(seen) == 2 * 7


def test_microbatches_are_equal_parts():
    assert even_size(50, 8) == 8
    assert even_size(50, 10) == 10
    assert even_size(50, 49) == 25
    assert even_size(50, 51) == 50
    assert even_size(50, None) == 50


def test_the_device_chooses_the_microbatch_that_is_left_to_it():
    left = config_of(OfflineConfig, plan_horizon=16)
    assert left.microbatch_size is None
    assert left.on_device("cpu").microbatch_size == 256  # 4096 tokens
    assert left.on_device("gpu").microbatch_size == 4096  # 65,536 tokens
    assert config_of(OfflineConfig, microbatch_size=8).on_device("cpu").microbatch_size == 8


# --- playing ---


class CountingDenoiser:
    """Stands in for the network: its plan is always 0, 1, 2, ... from the observation's target on."""

    num_tokens, plan_horizon = NUM_ACTIONS, 4

    def apply(self, params, *args, method):
        if method == "encode":
            return args[0]
        obs = args[0]
        plan = (obs[:, :NUM_ACTIONS].argmax(-1)[:, None] + jnp.arange(4)) % NUM_ACTIONS
        return 50.0 * jax.nn.one_hot(plan, NUM_ACTIONS)


def play(replan_every, inpaint_history, num_steps=30, execute=lambda action: action):
    env = toy_env(6)
    policy = Planner(CountingDenoiser(), SAMPLER).policy(None, replan_every, inpaint_history)

    def step(carry, key):
        state, memory = carry
        act_key, env_key = jax.random.split(key)
        action, memory = policy.act(act_key, state.obs, state.prev_action, state.done, memory)
        state, step = advance(env_key, env, state, execute(action), memory)
        return (state, memory), (step, memory, action)

    state = start(jax.random.PRNGKey(0), env, policy.init(6))
    keys = jax.random.split(jax.random.PRNGKey(1), num_steps)
    return jax.device_get(jax.jit(lambda s: jax.lax.scan(step, (s, policy.init(6)), keys)[1])(state))


@pytest.mark.parametrize("replan_every", [1, 2, 3, 4])
def test_following_plans_without_history_hits_everything(replan_every):
    step, memory, _ = play(replan_every, inpaint_history=False)
    assert (step.reward == 1).all()
    assert memory.hist_len.max() == replan_every - 1
    # A new episode starts a new plan.
    assert (memory.hist_len[1:][step.done[:-1]] == 0).all()


def test_history_locks_what_was_executed():
    """Executed actions differ from the proposed ones: the plan must hold the former."""
    step, memory, action = play(1, inpaint_history=True, execute=lambda a: (a + 1) % NUM_ACTIONS)
    executed = (action + 1) % NUM_ACTIONS
    for e in range(6):
        for t in range(30):
            length = memory.hist_len[t, e]
            assert memory.plan[t, e, :length].tolist() == executed[t - length : t, e].tolist()
            assert memory.plan[t, e, length] == action[t, e]
    # hist_len runs 0..H-1 within an episode and starts afresh after both.
    assert memory.hist_len.max() == 3
    for t in range(29):
        afresh = step.done[t] | (memory.hist_len[t] == 3)
        assert (memory.hist_len[t + 1] == np.where(afresh, 0, memory.hist_len[t] + 1)).all()


def test_planning_encodes_once_and_denoises_every_step():
    denoiser, calls = CountingDenoiser(), []

    class Recorded(CountingDenoiser):
        def apply(self, params, *args, method):
            calls.append(method)
            return denoiser.apply(params, *args, method=method)

    planner, key, obs = Planner(Recorded(), SAMPLER), jax.random.PRNGKey(0), jnp.ones((1, 5))
    with jax.disable_jit():  # so that every call of the scan's body is one of Python's
        jax.eval_shape(lambda: planner.plans(key, None, obs))
    assert calls == ["encode"] + ["denoise"] * SAMPLER.steps


def test_a_plan_keeps_its_history():
    denoiser = Denoiser(NUM_ACTIONS, 4, 16, 2, 1, 16, 1, 8, 1000.0, 0.0)
    params = init_params(denoiser, jax.random.PRNGKey(0), GAME.obs_dim)
    history = jnp.array([[3, 2, 1, 0]] * 5)
    hist_len = jnp.arange(5)
    obs = jnp.ones((5, GAME.obs_dim))
    trace = jax.jit(Planner(denoiser, SAMPLER).trace)
    plan, _ = trace(jax.random.PRNGKey(1), params, obs, history, hist_len)
    for length in range(5):
        assert plan[length, :length].tolist() == [3, 2, 1, 0][:length]
    assert (plan < NUM_ACTIONS).all()


class NoisyDenoiser(CountingDenoiser):
    """Its plans are likely, not certain, to be those; so they tell keys apart."""

    def apply(self, params, *args, method):
        return super().apply(params, *args, method=method) / 33


@pytest.mark.parametrize(
    ("replan_every", "inpaint_history"), slow_except([(1, True), (3, True), (2, False)], [(3, True)])
)
def test_policy_and_wrapper_plan_in_the_same_cycle(replan_every, inpaint_history):
    env, planner = toy_env(6), Planner(NoisyDenoiser(), SAMPLER)
    policy = planner.policy(None, replan_every, inpaint_history)
    wrapped = PlannerWrapper(env.env, planner.denoiser.plan_horizon, replan_every, inpaint_history)
    reset_key, play_key = jax.random.split(jax.random.PRNGKey(0))

    @jax.jit
    def by_policy():
        return rollout(play_key, env, policy, start(reset_key, env, policy.init(6)), 30)[1]

    @jax.jit
    def by_wrapper():
        def step(carry, key):
            obs, state = carry
            act_key, env_key = jax.random.split(key)
            cycle = state.cycle
            plan, _ = planner.trace(act_key, None, obs, cycle.history, cycle.hist_len)
            new_obs, state, reward, done, _ = wrapped.step(env_key, state, plan, None)
            return (new_obs, state), (obs, reward, done)

        return jax.lax.scan(step, wrapped.reset(reset_key, None), jax.random.split(play_key, 30))[1]

    data, (obs, reward, done) = by_policy(), by_wrapper()
    assert reward.mean() < 1
    assert (data.obs == obs).all()
    assert (data.step.reward == reward).all()
    assert (data.step.done == done).all()


def test_planner_passes_through_rollout():
    env = toy_env(6)
    policy = Planner(CountingDenoiser(), SAMPLER).policy(None, 2, False)
    state = start(jax.random.PRNGKey(0), env, policy.init(6))
    _, data = jax.jit(lambda key, s: rollout(key, env, policy, s, 20))(jax.random.PRNGKey(1), state)
    assert (data.step.reward == 1).all()
