"""What a run says of itself before it starts, and memory planned before it is used."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from remdm.base.errors import UserError
from remdm.config.layers import Layer, base_layers, build, configs_folder
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.ppo import PPOConfig
from remdm.experts.ppo import make_ppo
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.stages.budget import Term, check_memory, device_memory, memory_terms, resolved_plan
from tests.toy import GAME, NUM_ACTIONS, ToyEnv, toy_env, toy_expert

PRESETS = sorted(path.stem for path in configs_folder().glob("*.yaml") if path.stem != "defaults")
SIZES = {"Craftax-Classic-Symbolic-v1": (17, 1345, 1323), "Craftax-Symbolic-v1": (43, 8268, 8217)}


class SizedEnv(ToyEnv):
    """The toy with observations of another width."""

    def __init__(self, obs_dim):
        self.obs_dim = obs_dim

    def _obs(self, state):
        return jnp.zeros(self.obs_dim).at[: NUM_ACTIONS + 1].set(super()._obs(state))


def sized_env(num_envs, env_name, monkeypatch):
    """An environment with a game's numbers of actions and observations, whose steps are the toy's."""
    num_actions, obs_dim, num_binary = SIZES[env_name]
    game = replace(
        GAME, env=SizedEnv(obs_dim), num_actions=num_actions, obs_dim=obs_dim, num_binary=num_binary
    )
    with monkeypatch.context() as patch:
        patch.setattr("tests.toy.GAME", game)
        return toy_env(num_envs)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("model", "make"), [(OfflineConfig, make_offline), (OnlineConfig, make_online)])
def test_every_preset_builds_its_shapes(preset, model, make, monkeypatch):
    """Start, update and validation, traced at full size and never allocated."""
    config = build(model, base_layers(preset))
    env, val_env = (
        sized_env(n, config.env.env_name, monkeypatch)
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
