"""A planner's predictions beside its expert's, on toys whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from remdm.analysis import predictions
from remdm.base.errors import UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.imitation import ImitationConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.experts.acting import expert_policy
from remdm.loading.checkpoint import describe
from remdm.planners.denoising import init_params, make_denoiser
from remdm.play.policy import random_policy
from remdm.stages import imitation
from remdm.training import checkpoint
from tests.test_planners import TOY_KEYS
from tests.test_workflow import GAME as CLASSIC
from tests.toy import GAME, NUM_ACTIONS, paired_env

SURE = 3.0  # the logit of the target; the others are 0


class TargetNetwork:
    """An expert that is rather sure of the target that the observation shows."""

    def apply(self, params, memory, obs, done):
        return memory, SURE * obs[..., :NUM_ACTIONS], None

    def initial_state(self, batch_size):
        return ()


class CountingDenoiser:
    """Predicts the target, the next one, and so on, as surely as the expert."""

    num_tokens, plan_horizon = NUM_ACTIONS, 4

    def apply(self, params, obs, tokens, t):
        assert tokens.shape == (len(obs), 4)
        targets = obs[:, :NUM_ACTIONS].argmax(-1)[:, None] + jnp.arange(4)
        return params * SURE * jax.nn.one_hot(targets % NUM_ACTIONS, NUM_ACTIONS)


EXPERT = expert_policy(TargetNetwork(), None, 1.0)
TARGET = np.exp(SURE) / (np.exp(SURE) + NUM_ACTIONS - 1)
OTHER = (1 - TARGET) / (NUM_ACTIONS - 1)
ENTROPY = -TARGET * np.log(TARGET) - (1 - TARGET) * np.log(OTHER)


@pytest.fixture(scope="module")
def rows():
    """By how much the planner knows, 1 or 0: rows of states that random play comes to."""
    env = paired_env(8)

    @jax.jit
    def compared(known):
        visited = imitation.visit(jax.random.PRNGKey(0), env, random_policy(NUM_ACTIONS), EXPERT, 40)
        predicted = imitation.predict(CountingDenoiser(), known, visited, env)
        return predicted, imitation.time_in_episode(visited.first)

    def summarised(known):
        found = jax.device_get(compared(known))
        return {(row["by"], row["start"]): row for row in imitation.summarise(*found)}

    return {known: summarised(known) for known in (1.0, 0.0)}


def test_who_predicts_as_the_expert_acts_has_its_entropy(rows):
    for row in rows[1.0].values():
        if row["states_counted"]:
            assert row["entropy"] == pytest.approx(ENTROPY, rel=1e-5)
            # By place, the expert is asked at the later state: the plan of another episode would miss.
            assert row["cross_entropy"] == pytest.approx(ENTROPY, rel=1e-5)
    assert rows[1.0]["all", 0]["agreement"] == 1.0


def test_who_knows_nothing_is_log_v_away(rows):
    for row in rows[0.0].values():
        if row["states_counted"]:
            assert row["cross_entropy"] == pytest.approx(np.log(NUM_ACTIONS), rel=1e-5)
    # The first action is the most probable of equal ones, and right in a quarter of the states, which is
    # 296 dependent draws: a standard error of 0.06 or so at the most.
    assert rows[0.0]["all", 0]["agreement"] == pytest.approx(0.25, abs=0.2)


def test_every_state_is_in_one_range_of_time(rows):
    rows = rows[1.0]
    whole = rows["all", 0]["states_counted"]
    assert whole == 37 * 8
    assert sum(row["states_counted"] for (by, _), row in rows.items() if by == "time") == whole
    assert rows["time", 50]["states_counted"] == 0  # no episode takes more than 12 steps
    assert rows["time", 50]["cross_entropy"] is None
    places = [rows["place", k]["states_counted"] for k in range(4)]
    assert len(set(places)) == 1
    assert places[0] < whole


def test_time_in_an_episode():
    first = jnp.array([[1, 1], [0, 0], [0, 1], [1, 0]], bool)
    assert imitation.time_in_episode(first).tolist() == [[0, 0], [1, 1], [2, 0], [0, 1]]


@pytest.mark.slow
def test_the_stage_compares_on_the_states_of_both(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr("remdm.envs.batch.load_game", lambda name: GAME)
    monkeypatch.setattr(imitation, "load_expert", lambda *given, **keys: EXPERT)
    network = build(DenoiserConfig, [*base_layers(None), Layer("test", TOY_KEYS)])
    params = init_params(make_denoiser(network, NUM_ACTIONS), jax.random.PRNGKey(7), GAME.obs_dim)
    path = tmp_path / "planner"
    checkpoint.save(path, {"params": params}, describe("planner", CLASSIC, network, 1, 1))

    def config_of(**keys):
        given = {
            "seed": 0, "checkpoint_path": str(path), "ppo_checkpoint_path": "given", "eval_num_envs": 8,
            "diffusion_steps_eval": 4, "replan_every": 2, "imitation_steps": 30, **keys,
        }  # fmt: skip
        return build(ImitationConfig, [*base_layers(None), Layer("test", given)])

    with make_run("imitation") as run:
        imitation.run_imitation(config_of(), run)
    table = pl.read_parquet(run.folder / "imitation.parquet")
    assert table["states"].unique(maintain_order=True).to_list() == ["expert", "planner"]
    assert (table["cross_entropy"].drop_nulls() > table["entropy"].drop_nulls()).all()
    predictions.draw([str(run.folder / "imitation.parquet")], tmp_path / "predictions")
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")

    with pytest.raises(UserError, match="imitation_steps = 3: must be at least plan_horizon = 4"):
        imitation.run_imitation(config_of(imitation_steps=3), make_run("imitation", "short"))
