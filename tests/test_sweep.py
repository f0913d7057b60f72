"""The sweep over sampler settings: each measure by hand, and the stage for real on the toy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from remdm.analysis import heatmap
from remdm.base.errors import ConfigError, UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.sweep import Setting, SweepConfig
from remdm.diffusion.sampling import sample
from remdm.diffusion.schedule import SCHEDULES
from remdm.loading.checkpoint import describe
from remdm.planners.control import Planner
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.quality import diversity, nelbo, plan_quality, remasked
from remdm.stages import sweep
from remdm.training import checkpoint
from remdm.workflow.plan import Job, Plan
from tests.test_planners import SAMPLER, TOY_KEYS, CountingDenoiser
from tests.test_sampling import MASK, H, V, denoise
from tests.test_workflow import GAME as CLASSIC
from tests.test_workflow import WORKFLOW
from tests.toy import GAME, NUM_ACTIONS, paired_env, toy_expert

KEYS = {
    "seed": 0, "eval_num_envs": 8, "diffusion_steps_eval": 3, "inpaint_history": False,
    "sweep_strategies": ["rescale"], "sweep_steps": [3, 4], "sweep_etas": [0.0, 0.5],
    "sweep_temperatures": [0.0, 0.5], "sweep_windows": 20, "sweep_plans": 3, "sweep_play_steps": 6,
}  # fmt: skip


def config_of(**keys):
    return build(SweepConfig, [*base_layers(None), Layer("test", {**KEYS, **keys})])


# --- measures ---


def test_diversity_by_hand():
    plans = jnp.array([[[0, 1, 2, 3]], [[0, 1, 2, 3]], [[0, 1, 0, 0]]])
    # Three pairs: 0, 2 and 2 of four places differ.
    assert diversity(plans) == pytest.approx((0 + 2 + 2) / 12)
    assert diversity(plans[:2]) == 0


def test_remasked_by_hand():
    trace = jnp.array([[[0, MASK]], [[MASK, 1]], [[0, 1]], [[MASK, MASK]]])
    assert remasked(trace, MASK).tolist() == [0.0, 0.5, 0.0, 1.0]


def test_a_planner_that_is_certain_agrees_with_the_expert():
    """The toy's expert goes on 0, 1, 2, ... from the observation's target, and so does this planner."""
    obs = jnp.hstack([jnp.eye(NUM_ACTIONS), jnp.ones((NUM_ACTIONS, 1))])
    plan = (jnp.arange(NUM_ACTIONS)[:, None] + jnp.arange(4)) % NUM_ACTIONS
    plan = plan.at[:, 3].add(1)  # an expert that errs in the last place
    quality = plan_quality(jax.random.PRNGKey(0), Planner(CountingDenoiser(), SAMPLER), None, obs, plan, 5)
    assert quality.agreement.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert quality.diversity == 0
    # SAMPLER remasks in its loop alone, the second and third of four steps.
    assert ((quality.remasked > 0) == jnp.array([False, True, True, False])).all()


class IgnorantDenoiser(CountingDenoiser):
    def apply(self, params, *args, method):
        return 0.0 * super().apply(params, *args, method=method)


def test_the_bound_of_a_planner_that_knows_nothing_is_log_v():
    obs, plan = jnp.ones((500, 5)), jnp.zeros((500, 4), int)
    bound = nelbo(jax.random.PRNGKey(0), IgnorantDenoiser(), None, SCHEDULES["linear"], obs, plan, 40)
    # 20,000 draws of a variable whose standard deviation is below 3 log V: four standard errors.
    assert bound == pytest.approx(np.log(NUM_ACTIONS), rel=4 * 3 / np.sqrt(20_000))


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("strategy", ["cap", "conf"])
def test_settings_given_as_arrays_are_the_same_settings(strategy, temperature):
    fixed = SAMPLER._replace(strategy=strategy, eta=0.6, temperature=temperature)
    nothing = jnp.zeros((300, H), int)
    given = {"num_tokens": V, "locked_tokens": nothing, "locked": nothing > 0}

    @jax.jit
    def varied(eta, temperature):
        sampler = fixed._replace(eta=eta, temperature=temperature)
        return sample(jax.random.PRNGKey(0), denoise, sampler, **given)[0]

    plans = jax.jit(lambda: sample(jax.random.PRNGKey(0), denoise, fixed, **given)[0])()
    assert (varied(jnp.float32(0.6), jnp.float32(temperature)) == plans).all()
    assert (varied(jnp.float32(0.6), jnp.float32(2.0)) != plans).any()


def test_windows_are_what_the_expert_did_next():
    obs, plan = sweep.expert_windows(jax.random.PRNGKey(0), paired_env(8), toy_expert(), 4, 50)
    assert obs.shape == (50, GAME.obs_dim)
    assert (plan == (obs[:, :NUM_ACTIONS].argmax(-1)[:, None] + jnp.arange(4)) % NUM_ACTIONS).all()
    # None crosses the end of an episode.
    assert (obs[:, -1] * 12 >= 4 - 1e-3).all()
    with pytest.raises(UserError, match=r"sweep_windows = 1000: .* lower it, or raise eval_num_envs"):
        sweep.expert_windows(jax.random.PRNGKey(0), paired_env(1), toy_expert(), 4, 1000)


# --- the stage ---


def test_which_settings_are_played():
    config = config_of(eta=0.5, temperature=0.5)
    assert len(config.settings) == 2 * 2 * 2
    assert config.is_played(Setting("rescale", 3, 0.5, 0.5))
    assert config.is_played(Setting("rescale", 4, 0.5, 0.5))
    assert not config.is_played(Setting("rescale", 4, 0.0, 0.5))
    assert not config.is_played(Setting("cap", 4, 0.5, 0.5))
    assert not config_of(sweep_play_steps=0).is_played(Setting("rescale", 3, 0.5, 0.5))
    # Then how plans are executed is of no account.
    assert "replan_every" not in config_of(sweep_play_steps=0).recorded()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sweep_steps": [2]}, "sweep_steps = 2: the loop has three phases"),
        ({"sweep_steps": []}, "sweep_steps = "),
        ({"sweep_strategies": ["confident"]}, "sweep_strategies = "),
        ({"sweep_etas": [1.5]}, "sweep_etas = "),
        ({"sweep_plans": 1}, "sweep_plans = 1"),
    ],
)
def test_settings_that_cannot_be_are_named(keys, message):
    with pytest.raises(ConfigError, match=message):
        config_of(**keys)


@pytest.fixture
def planner(tmp_path, monkeypatch):
    """An untrained planner's checkpoint, and the toy in place of Craftax and its expert."""
    monkeypatch.setattr("remdm.envs.batch.load_game", lambda name: GAME)
    monkeypatch.setattr(sweep, "load_expert", lambda *given, **keys: toy_expert())
    network = build(DenoiserConfig, [*base_layers(None), Layer("test", TOY_KEYS)])
    params = init_params(make_denoiser(network, NUM_ACTIONS), jax.random.PRNGKey(7), GAME.obs_dim)
    params = jax.tree.map(lambda x: 3 * x, params)
    checkpoint.save(tmp_path / "planner", {"params": params}, describe("planner", CLASSIC, network, 1, 1))
    return str(tmp_path / "planner")


@pytest.mark.slow
def test_a_sweep_measures_every_setting_and_plays_some(planner, make_run, tmp_path, monkeypatch):
    drawn = []

    def counted(*given):
        drawn.append((len(given[3]), given[5]))
        return plan_measure(*given)

    plan_measure = sweep.plan_measure
    monkeypatch.setattr(sweep, "plan_measure", counted)
    config = config_of(checkpoint_path=planner, eta=0.5, temperature=0.5)
    with make_run("sweep") as run:
        sweep.run_sweep(config, run)
    table = pl.read_parquet(run.folder / "sweep.parquet")
    assert table.select("strategy", "steps", "eta", "temperature").rows() == config.settings
    # Twenty windows, three plans each; one program for each number of steps.
    assert drawn == [(20, 3)] * 2
    for row in table.rows(named=True):
        assert (row["score"] is not None) == config.is_played(Setting(*list(row.values())[:4]))
        assert len(row["agreement_by_place"]) == 4
        assert len(row["remasked_by_step"]) == row["steps"]
        assert row["agreement_first"] == row["agreement_by_place"][0]
        assert row["milliseconds_per_plan"] > 0
        # At temperature 0 and without remasking nothing but the order of unmasking is left to chance.
        assert (row["remasked"] == 0) == (row["eta"] == 0)
    # Differences are of the same worlds, so that the sampler's own keys differ from themselves by nothing.
    own = table.row(
        by_predicate=(pl.col("steps") == 3) & (pl.col("eta") == 0.5) & (pl.col("temperature") == 0.5)
    )
    own = dict(zip(table.columns, own, strict=True))
    assert (own["score_difference"], own["score_difference_error"]) == (0, 0)
    expected = table["score"] - own["score"]
    assert table["score_difference"].to_list() == [x if x is None else pytest.approx(x) for x in expected]
    scores = table["score"].drop_nulls()
    assert ((scores >= 0) & (scores <= 6)).all()
    cold = table.filter(pl.col("temperature") == 0)["diversity"].mean()
    assert cold < table.filter(pl.col("temperature") == 0.5)["diversity"].mean()
    assert json.loads((run.folder / "run.json").read_text())["nelbo"] > 0

    heatmap.draw([str(run.folder / "sweep.parquet")], tmp_path / "heatmap")
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")


# --- in the pipeline ---


@pytest.mark.parametrize(("stage", "picture"), [("sweep", "heatmap"), ("imitation", "predictions")])
def test_a_scale_asks_for_studies_of_its_planners(stage, picture):
    from remdm.base.reader import read_mapping

    scales = read_mapping(WORKFLOW)["scales"]
    scales["demo"][stage] = True
    plan = Plan.load(WORKFLOW, {"scales": scales})
    job = Job(CLASSIC, stage, "online-demo", 0)
    assert [found.name for found in plan.catalogue.of(stage)] == ["offline-demo", "online-demo"]
    assert plan.dependencies(job) == {
        "checkpoint_path": Job(CLASSIC, "online", "demo", 0),
        "ppo_checkpoint_path": Job(CLASSIC, "ppo", "ppo", 0),
    }
    assert f"{job.folder}/{picture}.png" in plan.targets
    scales["demo"][stage] = False
    assert not Plan.load(WORKFLOW, {"scales": scales}).catalogue.of(stage)
