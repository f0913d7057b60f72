"""The planner as a library: what the README and the notebook show is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import remdm
from remdm.base.errors import UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.ppo import ExpertConfig
from remdm.envs.craftax import load_game
from remdm.experts.network import init_params as init_expert
from remdm.experts.network import make_network
from remdm.loading.checkpoint import describe
from remdm.planners.denoising import init_params, make_denoiser
from remdm.training import checkpoint
from tests.compiling import quick_environment
from tests.conftest import REPOSITORY
from tests.notebooks import run_example

GAME = "Craftax-Classic-Symbolic-v1"
NETWORK = {
    "plan_horizon": 4, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 16, "obs_encoder_layers": 1,
    "obs_encoder_width": 16,
}  # fmt: skip


def save_planner(folder):
    """An untrained planner of Craftax Classic."""
    network = build(DenoiserConfig, [*base_layers(None), Layer("test", NETWORK)])
    game = load_game(GAME)
    params = init_params(make_denoiser(network, game.num_actions), jax.random.PRNGKey(0), game.obs_dim)
    checkpoint.save(folder, {"params": params}, describe("planner", GAME, network, 1, 1))
    return folder


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    return save_planner(tmp_path_factory.mktemp("library") / "checkpoint")


def test_importing_remdm_imports_next_to_nothing():
    code = "import sys, remdm; assert not {'jax', 'numpy', 'pydantic', 'remdm.library'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
    assert callable(remdm.load_planner)
    with pytest.raises(AttributeError, match="no attribute 'load_plannner'"):
        remdm.load_plannner  # noqa: B018


def test_plans_are_of_the_shape_asked_for_and_repeat(planner):
    loaded = remdm.load_planner(planner, replan_every=2)
    env = remdm.make_env(GAME, num_envs=3)
    obs, _ = env.reset(jax.random.PRNGKey(1))
    plans = loaded.plan(obs)
    assert plans.shape == (3, 4)
    assert ((plans >= 0) & (plans < env.game.num_actions)).all()
    np.testing.assert_array_equal(loaded.plan(obs), plans)
    assert loaded.plan(obs[0]).shape == (4,)
    assert (loaded.plan(obs, seed=1) != plans).any()
    with pytest.raises(UserError, match=r"obs: has shape \(3, 7\), but Craftax-Classic.* needs \[1345\]"):
        loaded.plan(np.zeros((3, 7)))
    for seed in (-1, 2**32):
        with pytest.raises(UserError, match=f"seed = {seed}: must be at least 0"):
            loaded.plan(obs, seed)


def test_settings_come_from_defaults_a_preset_and_keywords(planner):
    defaults = remdm.load_planner(planner)
    assert (defaults.planner.sampler.steps, defaults.planner.sampler.temperature) == (10, 0.5)
    given = remdm.load_planner(planner, preset="demo", temperature=0.3)
    assert (given.planner.sampler.steps, given.planner.sampler.temperature) == (8, 0.3)
    memory = remdm.load_planner(planner, replan_every=4, inpaint_history=False).init(2)
    assert (memory.replan_every, memory.inpaint_history) == (4, False)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"temprature": 1.0}, r"load_planner: temprature: unknown key \(did you mean temperature"),
        ({"temperature": -1.0}, r"load_planner: temperature = -1\.0: should be greater"),
        ({"d_model": 8}, "load_planner: d_model: has no effect here"),
        ({"replan_every": 9}, r"replan_every = 9: at most the planner's plan_horizon = 4"),
        ({"diffusion_steps_eval": 2}, "diffusion_steps_eval = 2: the loop has three phases"),
    ],
)
def test_bad_settings_are_named(planner, keys, message):
    with pytest.raises(UserError, match=message):
        remdm.load_planner(planner, **keys)


def test_what_is_no_planner_is_refused(planner, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        remdm.load_planner(tmp_path / "nowhere")
    other = tmp_path / "other"
    checkpoint.save(other, {"params": {"a": np.ones(1)}}, {"kind": "expert", "env_name": GAME})
    with pytest.raises(UserError, match="its kind is expert, but planner is needed"):
        remdm.load_planner(other)


def test_an_expert_plays_at_its_temperature(planner, tmp_path):
    config = build(ExpertConfig, [*base_layers(None), Layer("test", {"layer_size": 8})])
    game = load_game(GAME)
    network = make_network(config, game.num_actions)
    params = init_expert(network, jax.random.PRNGKey(0), game.obs_dim)
    checkpoint.save(tmp_path / "expert", {"params": params}, describe("expert", GAME, config, 1, 1))
    expert = remdm.load_expert(tmp_path / "expert", temperature=0.0)
    assert expert.env_name == GAME
    obs, first = jax.random.normal(jax.random.PRNGKey(1), (3, game.obs_dim)), np.ones(3, bool)
    logits, _ = expert.logits(obs, first, expert.init(3))
    action, _ = expert.act(jax.random.PRNGKey(2), obs, np.zeros(3, int), first, expert.init(3))
    np.testing.assert_array_equal(action, logits.argmax(-1))
    assert remdm.load_expert(tmp_path / "expert").temperature == 1.0
    with pytest.raises(UserError, match=r"load_expert: expert_temperature = -1\.0: should be greater"):
        remdm.load_expert(tmp_path / "expert", temperature=-1.0)
    with pytest.raises(UserError, match="its kind is planner, but expert is needed"):
        remdm.load_expert(planner)


def test_a_notebook_of_64_bits_is_told(planner):
    jax.config.update("jax_enable_x64", True)
    try:
        with pytest.raises(UserError, match="jax_enable_x64 = True: planners are made of 32 bits"):
            remdm.load_planner(planner)
    finally:
        jax.config.update("jax_enable_x64", False)


def test_references_are_fetched(planner, tmp_path, monkeypatch):
    asked = []

    def fetch(reference, folder):
        asked.append((reference, folder))
        return planner

    monkeypatch.setattr("remdm.library.fetch", fetch)
    reference = "wandb:a/b/c:v1"
    assert remdm.load_planner(reference).env_name == GAME
    remdm.load_planner(reference, wandb_download_dir="here")
    assert asked == [(reference, Path("artifacts")), (reference, Path("here"))]


def test_an_episode_is_that_of_its_seed(planner, monkeypatch):
    """In the toy game, whose worlds a camera tells apart by their first picture and their length."""
    from tests.test_film import toy_camera, toy_planner
    from tests.toy import GAME as TOY

    monkeypatch.setattr("remdm.library.load_game", lambda name: TOY)
    monkeypatch.setattr("remdm.library.load_camera", lambda name: toy_camera())
    policy = toy_planner(2, False)
    loaded = remdm.library.LoadedPlanner(**vars(policy), env_name=GAME)
    films = [remdm.play_episode(loaded, seed=seed) for seed in (0, 0, 1)]
    assert all(
        film.actions.tolist() == film.plans[range(film.steps), film.positions].tolist() for film in films
    )
    worlds = [(film.places[0].tolist(), film.steps, film.actions.tolist()) for film in films]
    assert worlds[0] == worlds[1]
    assert len({str(world) for world in worlds}) > 1


@pytest.mark.slow
def test_the_readmes_ten_lines_run(tmp_path, monkeypatch, capsys):
    [snippet] = [
        code for code in re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
        if "load_planner" in code
    ]  # fmt: skip
    assert len(snippet.splitlines()) <= 10
    (tmp_path / "pretrained").symlink_to(REPOSITORY / "pretrained", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    assert "steps" in capsys.readouterr().out
    assert 1000 < (tmp_path / "episode.gif").stat().st_size < 3_000_000


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """With the planner that comes with the code, so nothing has to be trained before."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (tmp_path / "pretrained").symlink_to(REPOSITORY / "pretrained", target_is_directory=True)
    monkeypatch.delenv("REMDM_CHECKPOINT", raising=False)
    for name, value in quick_environment(JAX_COMPILATION_CACHE_DIR=str(REPOSITORY / ".tests-cache")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY), prepend=os.pathsep)
    assert any("image/gif" in data for data in run_example("play.ipynb", folder))
    assert (folder / "episode.gif").stat().st_size < 3_000_000
