"""What a run says of itself before it starts, and memory planned before it is used."""

import re
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import pytest

from remdm.base.errors import UserError
from remdm.config.layers import Layer, base_layers, build, configs_folder
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.ppo import PPOConfig
from remdm.diffusion.loss import cross_entropy
from remdm.envs.craftax import load_game
from remdm.envs.packing import num_bytes
from remdm.envs.past import with_past
from remdm.envs.wrappers import LogWrapper
from remdm.experts.ppo import make_ppo
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.stages.budget import (
    Term,
    bytes_per_window,
    check_memory,
    device_memory,
    memory_terms,
    resolved_plan,
)
from remdm.training.microbatch import even_size
from tests.tiers import slow_except
from tests.toy import GAME, NUM_ACTIONS, ToyEnv, toy_env, toy_expert

PRESETS = sorted(path.stem for path in configs_folder().glob("*.yaml") if path.stem != "defaults")
SIZES = {"Craftax-Classic-Symbolic-v1": (17, 1345, 1323), "Craftax-Symbolic-v1": (43, 8268, 8217)}


class SizedEnv(ToyEnv):
    """The toy with observations of another width."""

    def __init__(self, obs_dim):
        self.obs_dim = obs_dim

    def _obs(self, state):
        return jnp.zeros(self.obs_dim).at[: NUM_ACTIONS + 1].set(super()._obs(state))


def sized_env(num_envs, env_name, monkeypatch, network=None):
    """An environment with a game's numbers of actions and observations, whose steps are the toy's."""
    num_actions, obs_dim, num_binary = SIZES[env_name]
    game = replace(
        GAME, env=SizedEnv(obs_dim), num_actions=num_actions, obs_dim=obs_dim, num_binary=num_binary
    )
    with monkeypatch.context() as patch:
        patch.setattr("tests.toy.GAME", with_past(game, network))
        return toy_env(num_envs)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("model", "make"), [(OfflineConfig, make_offline), (OnlineConfig, make_online)])
def test_every_preset_builds_its_shapes(preset, model, make, monkeypatch):
    """Start, update and validation, traced at full size and never allocated."""
    config = build(model, base_layers(preset))
    env, val_env = (
        sized_env(n, config.env.env_name, monkeypatch, config.denoiser)
        for n in (config.num_envs, config.validation.val_num_envs)
    )
    algorithm = make(config, env, val_env, toy_expert())
    key = jax.random.PRNGKey(0)
    state = jax.eval_shape(algorithm.init, key)
    after, metrics = jax.eval_shape(algorithm.update, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert all(value.shape == () for value in metrics.values())
    assert jax.eval_shape(algorithm.validate, key, algorithm.params(state))["val/score"].shape == ()


def test_published_presets_have_the_published_sizes(monkeypatch):
    config = build(OnlineConfig, base_layers("final_classic_ucl"))
    env = sized_env(config.num_envs, config.env.env_name, monkeypatch)
    algorithm = make_online(config, env, env, toy_expert())
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    plan = resolved_plan(config, algorithm, state, memory_terms(config, state, env.game))
    assert plan["updates"] == "1,525 of 65,536 frames: 99,942,400 frames"
    assert plan["windows"] == "49,664 an update, in minibatches of 6,208"
    assert plan["gradient steps"] == "64 an update, 97,600 in all, warm-up 1,600"
    assert plan["beta"] == "1 at the first update, 0.3442 at the last"
    # 125,000 x (1323 / 8 + 22 x 4 + 32 x 4 + 1) bytes.
    assert plan["buffer"] == "125,000 windows, 47.9 MB"
    assert 8.5e6 < int(plan["parameters"].replace(",", "")) < 9.5e6


# The presets of the public repository; others are made for small machines.
PUBLISHED = [name for name in PRESETS if re.match("classic_|craftax_|final_|paper", name)]
GPUS = (24 * 10**9, 80 * 10**9)


@cache
def game_bytes(env_name, network=None):
    """One environment's state in the real game, whose maps the toy has not."""
    game = with_past(load_game(env_name), network)
    return num_bytes(jax.eval_shape(LogWrapper(game.env).reset, jax.random.PRNGKey(0), game.params))


def needed_on_a_gpu(model, make, preset, monkeypatch, **keys):
    """Terms of a run's memory where JAX runs on a GPU, with the real game's state."""
    config = build(model, [*base_layers(preset), Layer("test", keys)])
    env = sized_env(config.num_envs, config.env.env_name, monkeypatch, config.denoiser)
    state = jax.eval_shape(make(config, env, env, toy_expert()).init, jax.random.PRNGKey(0))
    one = game_bytes(config.env.env_name, config.denoiser)
    games = (config.num_envs + max(8, config.num_envs // 16)) * one
    with monkeypatch.context() as patch:
        patch.setattr("jax.default_backend", lambda: "gpu")
        terms = memory_terms(config, state, env.game)
    return [*(term for term in terms if term.name != "games"), Term("games", games, "num_envs")]


@pytest.mark.parametrize("model_and_make", [(OfflineConfig, make_offline), (OnlineConfig, make_online)])
@pytest.mark.parametrize("preset", slow_except(PUBLISHED, ["classic_exp_d_850K"]))
def test_published_presets_fit_gpus(preset, model_and_make, monkeypatch):
    """As they are; with a whole minibatch in the network at once not, and then the key to lower is named."""
    terms = needed_on_a_gpu(*model_and_make, preset, monkeypatch)
    for available in GPUS:
        check_memory(terms, available)
    if preset == "classic_exp_d_850K":
        terms = needed_on_a_gpu(*model_and_make, preset, monkeypatch, microbatch_size=10**6)
        with pytest.raises(UserError, match=r"a microbatch .* 24 GB: lower microbatch_size"):
            check_memory(terms, GPUS[0])


@pytest.mark.slow
@pytest.mark.parametrize("env_name", SIZES)
@pytest.mark.parametrize("kind", ["ppo", "ppo_rnn", "ppo_rnd"])
def test_the_papers_experts_fit_gpus(kind, env_name, monkeypatch):
    keys = {"env_name": env_name, "ppo_model_type": kind}
    config = build(PPOConfig, [*base_layers("paper"), Layer("test", keys)])
    env = sized_env(config.ppo_num_envs, env_name, monkeypatch)
    state = jax.eval_shape(make_ppo(config, env).init, jax.random.PRNGKey(0))
    games = (env.num_envs + env.num_envs // 16) * game_bytes(env_name)
    terms = [*memory_terms(config, state, env.game), Term("games", games, "ppo_num_envs")]
    for available in GPUS:
        check_memory(terms, available)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("preset", ["classic_exp_d_850K", "final_classic_ucl", "craftax_exp_d_500K"])
def test_a_microbatch_of_a_gpu_is_near_what_the_compiler_needs(preset):
    """At the published size: compiled, and never allocated."""
    config = build(OfflineConfig, base_layers(preset)).on_device("gpu")
    num_actions, obs_dim, _ = SIZES[config.env.env_name]
    size = even_size(config.minibatch_size, config.microbatch_size)
    denoiser = make_denoiser(config.denoiser, num_actions)
    params = jax.eval_shape(lambda key: init_params(denoiser, key, obs_dim), jax.random.PRNGKey(0))
    shapes = (
        jax.ShapeDtypeStruct((size, obs_dim), jnp.float32),
        jax.ShapeDtypeStruct((size, config.denoiser.plan_horizon), jnp.int32),
        jax.ShapeDtypeStruct((size,), jnp.float32),
    )

    def loss(params, obs, tokens, t, key):
        logits = denoiser.apply(params, obs, tokens, t, False, rngs={"dropout": key})
        return jnp.sum(cross_entropy(logits, jnp.minimum(tokens, num_actions - 1), 0.0))

    program = jax.jit(jax.grad(loss)).lower(params, *shapes, jax.random.PRNGKey(0)).compile()
    needed = program.memory_analysis().temp_size_in_bytes + size * obs_dim * 4
    estimate = size * bytes_per_window(config, 4 * obs_dim)
    assert 0.6 < estimate / needed < 1.7, (estimate, needed)


def measured(algorithm):
    """What the compiler says that an update needs, bytes."""
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    compiled = jax.jit(algorithm.update, donate_argnums=0).lower(state).compile()
    analysis = compiled.memory_analysis()
    return state, analysis.argument_size_in_bytes + analysis.temp_size_in_bytes


WIDE = {
    "plan_horizon": 16, "d_model": 64, "n_heads": 4, "n_layers": 3, "d_ff": 128, "obs_encoder_width": 64,
    "num_envs": 64, "num_steps": 32, "num_minibatches": 4, "val_num_envs": 4, "dagger_buffer_max": 6000,
    "ppo_num_envs": 64, "ppo_num_steps": 32, "layer_size": 64, "seed": 0, "diffusion_steps": 3,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize(
    ("model", "make"),
    [
        (PPOConfig, lambda config, env: make_ppo(config, env)),
        (OfflineConfig, lambda config, env: make_offline(config.on_device("cpu"), env, env, toy_expert())),
        (OnlineConfig, lambda config, env: make_online(config.on_device("cpu"), env, env, toy_expert())),
    ],
)
def test_the_estimate_is_near_what_the_compiler_needs(model, make, monkeypatch):
    config = build(model, [*base_layers(None), Layer("test", WIDE)])
    env = sized_env(64, config.env.env_name, monkeypatch)
    algorithm = make(config, env)
    state, needed = measured(algorithm)
    estimate = sum(term.size for term in memory_terms(config, state, env.game))
    assert 0.6 < estimate / needed < 1.7, (estimate, needed)


def test_what_cannot_fit_is_refused_with_its_largest_terms(monkeypatch):
    config = build(
        OnlineConfig, [*base_layers("final_craftax_ucl"), Layer("test", {"dagger_buffer_cycles": 1000})]
    )
    env = sized_env(config.num_envs, config.env.env_name, monkeypatch)
    algorithm = make_online(config, env, env, toy_expert())
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    terms = memory_terms(config, state, env.game)
    with pytest.raises(UserError) as refused:
        check_memory(terms, 24 * 10**9)
    assert str(refused.value).startswith("about ")
    assert "replay buffer 78 GB" in str(refused.value)
    assert str(refused.value).endswith("lower dagger_buffer_cycles or dagger_buffer_max")
    check_memory(terms, 10**12)
    check_memory(terms, None)
    check_memory([Term("all", 10, "key")], 10)
    with pytest.raises(UserError, match=r"about 11 B of memory .*all 11 B.* has 10 B: lower key"):
        check_memory([Term("all", 11, "key")], 10)


def test_this_machines_memory_is_known():
    assert 10**9 < device_memory() < 10**15
