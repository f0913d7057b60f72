"""The policies in `pretrained/`: they load, play, and return what their cards say."""

import shutil
import subprocess

import jax
import jax.numpy as jnp
import pytest

import remdm
from remdm import cli
from remdm.analysis.results import read_json
from remdm.base.scrub import scrubbed
from remdm.envs.craftax import load_game
from remdm.loading.expert import load_expert
from remdm.training import checkpoint
from remdm.workflow.plan import Plan
from tests.conftest import REPOSITORY
from tests.hub import content
from tests.test_library import GAME

PRETRAINED = REPOSITORY / "pretrained"
NAMES = ("ppo", "offline-demo", "online-demo")


@pytest.fixture(scope="module")
def world():
    """The first observation of a world, its state, and the compiled step of one world."""
    game = load_game(GAME)
    obs, state = jax.jit(game.env.reset)(jax.random.PRNGKey(0), game.params)
    return obs, state, jax.jit(lambda key, state, action: game.env.step(key, state, action, game.params)[:2])


def load(name):
    if name == "ppo":
        return load_expert("test", str(PRETRAINED / name), GAME, load_game(GAME), temperature=1.0)
    return remdm.load_planner(PRETRAINED / name, preset="demo")


@pytest.mark.parametrize("name", NAMES)
def test_it_plays(name, world):
    policy, (obs, state, step) = load(name), world
    act = jax.jit(policy.act)
    action, done, memory = jnp.zeros(1, int), jnp.ones(1, bool), policy.init(1)
    for key in jax.random.split(jax.random.PRNGKey(1), 4):
        action, memory = act(key, obs[None], action, done, memory)
        obs, state = step(key, state, action[0])
        done = jnp.zeros(1, bool)
        assert 0 <= action[0] < 17
    assert state.timestep == 4


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_whole_and_says_where_it_is_from(name):
    folder = PRETRAINED / name
    files = content(folder)
    assert sum(map(len, files.values())) < 3e6
    assert not checkpoint.has(folder, "training")  # no optimiser, no buffer
    checkpoint.verify(folder, needed=True)
    record = read_json(folder / "run.json")
    assert scrubbed(record) == record
    assert str(REPOSITORY).encode() not in b"".join(files.values())
    assert record["git_commit"]
    assert f"pretrained/{name}" in files["README.md"].decode()


def test_git_leaves_their_bytes_alone():
    """One with other line ends would have other checksums."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a clone")
    path = "pretrained/ppo/params/d/0"
    command = ["git", "-C", str(REPOSITORY), "check-attr", "text", path]
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"{path}: text: unset\n"


def test_the_pipeline_takes_them(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    scale = {
        "envs": [GAME], "preset": "demo", "seeds": [0], "evaluations": {}, "ablations": [], "overrides": {},
        "experts": [{"checkpoint": "pretrained/ppo"}],
        "planners": [
            {"checkpoint": "pretrained/offline-demo", "label": "bc"},
            {"checkpoint": "pretrained/online-demo", "label": "dagger"},
        ],
    }  # fmt: skip
    plan = Plan.load(REPOSITORY / "workflow_config.yaml", {"scales": {"shipped": scale}, "scale": "shipped"})
    assert plan.fetched == {}
    assert {job.stage for job in plan.jobs} == {"collect", "inference", "film"}
    names = {job.name for job in plan.jobs if job.stage == "inference"}
    assert names == {"expert", "planner_bc", "planner_dagger", "random"}
    assert {found.plan_horizon for found in plan.externals.values()} == {None, 8}


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", NAMES)
def test_it_returns_what_its_card_says(name, tmp_path, monkeypatch, capsys):
    """The same evaluation again; sums in another order make other episodes of it.

    The means of two evaluations, of 300 episodes each, differ by less than 4 standard errors of that.
    """
    evaluation = PRETRAINED / name / "evaluations" / name / "s1"
    reported, played = read_json(evaluation / "summary.json"), read_json(evaluation / "run.json")["config"]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PRETRAINED / name, "policy")
    keys = [f"--{key}={value}" for key, value in played.items() if key not in ("checkpoint_path", "policy")]
    cache = f"--compilation_cache_dir={REPOSITORY / '.tests-cache'}"
    command = ["inference", "--checkpoint_path", "policy", "--output", "out", "--no-use-wandb", cache, *keys]
    assert cli.main([*command, "--progress=false"]) == 0, capsys.readouterr().err
    found = read_json(tmp_path / "out" / "summary.json")
    variance = sum(summary["return"]["std"] ** 2 / summary["episodes"] for summary in (reported, found))
    assert abs(found["return"]["mean"] - reported["return"]["mean"]) < 4 * variance**0.5
    assert found["episodes"] > 200
