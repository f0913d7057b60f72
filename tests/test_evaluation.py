"""Evaluation: worlds that every policy meets, which episodes count, and what is written of them."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from remdm.base.errors import UserError
from remdm.config.inference import InferenceConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.envs.batch import BatchEnv
from remdm.envs.craftax import load_game
from remdm.envs.paired import PairedResetVecEnvWrapper
from remdm.envs.wrappers import LogWrapper
from remdm.evaluation.episodes import Episodes, play_episodes
from remdm.play.player import compile_player
from remdm.play.policy import Policy, random_policy
from remdm.play.rollout import rollout, start
from remdm.stages.inference import run_inference
from tests.toy import GAME, NUM_ACTIONS, TWO_LENGTHS_GAME, TwoLengthsEnv, paired_env, toy_expert


def idling_policy(num_actions, idle):
    """Does nothing, or plays at random; both are one compiled program."""

    def act(idle, key, obs, *_):
        return jnp.where(idle, 0, jax.random.randint(key, obs.shape[:1], 0, num_actions)), ()

    return Policy(jnp.array(idle), lambda batch_size: (), act)


def player_of(env, num_steps):
    """Starts from PRNGKey(0) and plays: a compiled function of the policy."""

    def run(policy):
        start_key, play_key = jax.random.split(jax.random.PRNGKey(0))
        return rollout(play_key, env, policy, start(start_key, env, policy.init(env.num_envs)), num_steps)

    return jax.jit(run)


def first_observations(data):
    """Of episode k of environment e, as far as they were begun: {(e, k): observation}."""
    first = np.vstack([np.ones_like(data.step.done[:1]), data.step.done[:-1]])
    episode = np.cumsum(first, axis=0) - 1
    return {(e, episode[t, e]): data.obs[t, e] for t, e in zip(*np.nonzero(first), strict=True)}


# --- worlds ---


@pytest.mark.parametrize("block_size", [1, 3, 8])
def test_a_world_depends_on_its_numbers_alone(block_size):
    """Whoever plays, at whatever pace, in however many environments, (e, k) begins as its key says."""
    key = jax.random.split(jax.random.PRNGKey(0))[0]  # what `start` hands to the environment
    for num_envs, policy in ((6, toy_expert()), (9, random_policy(NUM_ACTIONS))):
        state, data = jax.device_get(player_of(paired_env(num_envs, block_size), 90)(policy))
        seen = first_observations(data)
        assert len(seen) > 9 * num_envs
        for (e, k), obs in seen.items():
            world, _ = GAME.env.reset(jax.random.fold_in(jax.random.fold_in(key, e), k), None)
            assert obs == pytest.approx(world)
        # Every episode has been counted, and the next world is there but for less than a block.
        assert (state.env.episode == data.step.done.sum(axis=0)).all()
        assert (~state.env.ready).sum() < block_size + data.step.done.sum(axis=1).max()


def test_several_episodes_that_end_at_once_get_their_worlds():
    """More than a block, twice in succession, before any next world is there."""
    env = paired_env(5, block_size=2)
    _, state = env.reset(jax.random.PRNGKey(0))
    for k in (1, 2):
        left = state.env_state.env_state.replace(left=jnp.ones(5, jnp.int32))
        state = state.replace(env_state=state.env_state.replace(env_state=left))
        obs, state, step = env.step(jax.random.PRNGKey(k), state, jnp.zeros(5, int))
        assert step.done.all()
        for e in range(5):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.PRNGKey(0), e), k)
            assert obs[e] == pytest.approx(GAME.env.reset(key, None)[0])


@pytest.mark.slow
def test_craftax_shows_every_policy_the_same_worlds():
    """Episodes are cut at 25 steps; who idles and who acts see other things between the same beginnings."""
    game = load_game("Craftax-Classic-Symbolic-v1")
    game = replace(game, params=game.params.replace(max_timesteps=25), time_limit=25)
    env = BatchEnv(game, PairedResetVecEnvWrapper(LogWrapper(game.env), 4, block_size=2))
    play = player_of(env, 60)
    (_, data), (_, other) = (
        jax.device_get(play(idling_policy(game.num_actions, idle))) for idle in (True, False)
    )
    idle, busy = first_observations(data), first_observations(other)
    both = idle.keys() & busy.keys()
    assert len(both) >= 3 * 4
    assert all((idle[number] == busy[number]).all() for number in both)
    assert len({obs.tobytes() for obs in idle.values()}) == len(idle)
    assert (data.obs[24] != other.obs[24]).any()


# --- which episodes count ---


def played(num_envs, num_steps, seed=0, **keys):
    env = paired_env(num_envs, game=TWO_LENGTHS_GAME)
    player = compile_player(jax.random.PRNGKey(seed), env, random_policy(2), lambda data: data.step)
    return play_episodes(player, num_steps, **keys)


def ended(episodes):
    return episodes.where(episodes.finished)


@pytest.mark.slow
def test_fixed_steps_favour_short_episodes_and_first_episodes_do_not():
    """Mean return (4 + 40) / 2 = 22, standard deviation 18; 3,000 environments: four standard errors."""
    true_mean = (TwoLengthsEnv.SHORT + TwoLengthsEnv.LONG) / 2
    tolerance = 4 * (TwoLengthsEnv.LONG - TwoLengthsEnv.SHORT) / 2 / np.sqrt(3000)
    fixed, first = ended(played(3000, 64)), played(3000, 64, first_only=True)
    assert first.episode_return.mean() == pytest.approx(true_mean, abs=tolerance)
    assert len(first.env) == 3000
    assert fixed.episode_return.mean() < true_mean - 3 * tolerance
    # With many times an episode's length, the bias of the other goes away.
    assert ended(played(300, 4000)).episode_return.mean() == pytest.approx(true_mean, abs=tolerance)


def test_first_episodes_are_the_first_of_the_same_games():
    """One for each environment, and playing stops when the last has ended."""
    steps = []
    fixed = played(50, 640)
    first = played(50, 640, on_progress=steps.append, first_only=True)
    assert steps == [64]
    assert sorted(first.env) == list(range(50))
    for e, value in zip(first.env, first.episode_return, strict=True):
        assert fixed.episode_return[fixed.env == e][0] == value
    assert (first.number == 0).all()
    assert (np.sort(fixed.number[fixed.env == 3]) == np.arange((fixed.env == 3).sum())).all()


def test_an_episode_ends_by_time_victory_or_death():
    game = replace(GAME, time_limit=9, victory="perfect")
    episodes = Episodes(
        env=np.zeros(4),
        episode_return=np.zeros(4),
        length=np.array([9, 5, 5, 5]),
        achievements=np.array([[1, 0], [1, 1], [1, 0], [1, 0]], bool),
        finished=np.array([True, True, True, False]),
    )
    assert episodes.truncated(game).tolist() == [True, False, False, False]
    assert episodes.died(game).tolist() == [False, False, True, False]
    assert not episodes.truncated(GAME).any()


def test_craftax_has_a_time_limit_and_the_full_game_a_victory():
    assert load_game("Craftax-Classic-Symbolic-v1").time_limit == 10_000
    full = load_game("Craftax-Symbolic-v1")
    assert (full.time_limit, full.victory) == (100_000, "defeat_necromancer")
    assert full.victory in full.achievements


# --- what is written ---


def evaluated(make_run, monkeypatch, **keys):
    monkeypatch.setattr("remdm.envs.batch.load_game", lambda name: TWO_LENGTHS_GAME)
    given = {"policy": "random", "seed": 3, "eval_num_envs": 20, "eval_steps": 100, **keys}
    run = make_run("inference", **{"name": "-".join(map(str, keys.values())) or "run"})
    with run:
        run_inference(build(InferenceConfig, [*base_layers(None), Layer("test", given)]), run)
    summary = json.loads((run.folder / "summary.json").read_text())
    return summary, pl.read_parquet(run.folder / "episodes.parquet")


def test_one_row_for_each_episode(make_run, monkeypatch):
    summary, table = evaluated(make_run, monkeypatch)
    assert table.columns == [
        *("env", "episode", "seed", "return", "length", "finished", "died", "truncated", "long")
    ]
    assert summary["frames"] == 20 * 100
    assert summary["trained_frames"] is None
    finished = table.filter("finished")
    assert summary["episodes"] == finished.height > 40
    assert summary["return"]["mean"] == pytest.approx(finished["return"].mean())
    assert summary["achievements"]["long"]["count"] == finished["long"].sum()
    assert summary["unfinished"] == 0
    assert (table["return"] == table["length"]).all()
    assert (table["truncated"] == (table["length"] == TwoLengthsEnv.LONG)).all()
    assert (finished["died"] != finished["truncated"]).all()
    assert (table["seed"] == 3).all()
    assert table.select("env", "episode").is_unique().all()


def test_the_protocol_decides_which_episodes_are_written(make_run, monkeypatch):
    _, fixed = evaluated(make_run, monkeypatch)
    summary, first = evaluated(make_run, monkeypatch, eval_protocol="first_episode")
    assert summary["protocol"] == "first_episode"
    assert summary["frames"] == 20 * 64
    assert first.equals(fixed.filter(pl.col("episode") == 0))


def test_unfinished_first_episodes_count_as_far_as_they_went(make_run, monkeypatch, caplog):
    with caplog.at_level("INFO", "remdm"):
        summary, table = evaluated(make_run, monkeypatch, eval_protocol="first_episode", eval_steps=20)
    assert sorted(table["env"]) == list(range(20))
    short, long = table.filter("finished"), table.filter(~pl.col("finished"))
    assert set(short["length"]) == {TwoLengthsEnv.SHORT}
    assert set(long["length"]) == set(long["return"]) == {20}
    # `long` is unlocked after the fourth step, and these have had it.
    assert long["long"].all()
    assert not (long["died"] | long["truncated"] | short["long"].any()).any()
    assert summary["episodes"] == 20
    assert summary["unfinished"] == long.height > 0
    assert summary["return"]["mean"] == pytest.approx((4 * short.height + 20 * long.height) / 20)
    assert f"eval_steps = 20: {long.height} of 20 first episodes did not end" in caplog.text
    # Of the same games, fixed steps count what ended, and keep the rest for comparisons of first episodes.
    summary, fixed = evaluated(make_run, monkeypatch, eval_steps=20)
    assert fixed.filter(pl.col("episode") == 0).sort("env").equals(table.sort("env"))
    assert summary["episodes"] == fixed["finished"].sum() < fixed.height
    assert summary["return"]["mean"] == TwoLengthsEnv.SHORT
    assert summary["unfinished"] == long.height


@pytest.mark.parametrize("steps", [30, 64, 100])
def test_finished_and_unfinished_episodes_are_all_that_was_played(steps):
    """Within a chunk, at its end and in a later one: every step belongs to one episode."""
    episodes = played(50, steps)
    assert (np.bincount(episodes.env, episodes.length) == steps).all()
    assert 0 < (~episodes.finished).sum() <= 50
    assert (episodes.length > 0).all()
    ended_by = np.where(episodes.achievements[:, 0], TwoLengthsEnv.LONG, TwoLengthsEnv.SHORT)
    assert (episodes.length[episodes.finished] == ended_by[episodes.finished]).all()


def test_fixed_steps_that_finish_no_episode_say_what_to_raise(make_run, monkeypatch):
    with pytest.raises(UserError, match=r"eval_steps = 3: too few to complete .*; raise it"):
        evaluated(make_run, monkeypatch, eval_steps=3)
    summary, _ = evaluated(make_run, monkeypatch, eval_steps=3, eval_protocol="first_episode")
    assert (summary["unfinished"], summary["return"]["mean"]) == (20, 3)
