"""Films: what is recorded is what was played, and what is drawn is what was recorded."""

import json
from collections import OrderedDict
from pathlib import Path

import craftax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from remdm.analysis import episode
from remdm.analysis.denoising import chosen_plans, draw_denoising, remasked, tokens_over_steps
from remdm.analysis.episode import columns, draw_episode, shown_steps
from remdm.analysis.film import Film, film_title, read_film
from remdm.analysis.gallery import draw as draw_gallery
from remdm.analysis.path import draw_path, legs, map_pixels, visited_floors
from remdm.analysis.unlocks import draw_unlocks, unlocked_share
from remdm.analysis.viewer import draw as draw_viewer
from remdm.config.film import FilmConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.diffusion.sampling import Sampler, make_grid, token_probs
from remdm.envs.camera import Camera, Shot
from remdm.evaluation.film import CHUNK_STEPS, compile_film, names, stage_env
from remdm.planners.control import Planner, PlannerPolicy
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.recording import act_recorded
from remdm.play.policy import random_policy
from remdm.play.rollout import advance, start
from remdm.stages.film import run_film
from tests.test_library import GAME as CLASSIC
from tests.test_library import save_planner
from tests.test_planners import config_of
from tests.toy import GAME, LONGEST, NUM_ACTIONS, toy_expert

KEY = jax.random.PRNGKey(3)
ENVS = 3


def toy_camera():
    """Pixels show the target, the place is the time left, achievements come with time."""

    def shoot(state):
        pixels = jnp.full((4, 6, 3), 60 * state.target, jnp.uint8)
        place = jnp.stack([0 * state.left, state.target, state.left])
        world = jnp.full((1, 8, 8), 1, jnp.uint8).at[0, 0, state.target].set(0)
        return Shot(
            pixels, clear=pixels.at[:2, :2].set(7), light=state.left / LONGEST, vitals={"health": state.left},
            inventory=OrderedDict(b_missed=state.missed, a_target=state.target), place=place, world=world,
        )  # fmt: skip

    return Camera(
        shoot=shoot,
        unlocked=lambda states: jnp.stack([states.left <= 4, states.left <= 1], axis=-1),
        tiles=np.zeros((NUM_ACTIONS, 2, 2, 3), np.uint8) + 50 * np.arange(NUM_ACTIONS)[:, None, None, None],
        actions=tuple(f"place_{i}" for i in range(NUM_ACTIONS)),
        local_view=(1, 3),
    )


def toy_planner(replan_every, inpaint_history):
    from remdm.config.offline import OfflineConfig

    denoiser = make_denoiser(config_of(OfflineConfig).denoiser, NUM_ACTIONS)
    params = init_params(denoiser, KEY, GAME.obs_dim)
    sampler = Sampler(6, "cosine", "rescale", 1.0, True, 0.7, 0.3, 1.0, 1.0)
    return Planner(denoiser, sampler).policy(params, replan_every, inpaint_history)


def filmed(policy, max_steps=100, num_envs=ENVS, expert=None):
    env, camera = stage_env(GAME, num_envs), toy_camera()
    act = act_recorded if isinstance(policy, PlannerPolicy) else None
    film = compile_film(KEY, env, policy, camera, act, expert)
    return Film(**film.roll(max_steps), **names(GAME, camera))


def by_hand(policy, num_steps, env):
    """The states, memories and outcomes of the same steps, one by one."""
    start_key, play_key = jax.random.split(KEY)
    state = start(start_key, env, policy.init(env.num_envs))

    @jax.jit
    def step(policy, state, key):
        act_key, env_key = jax.random.split(key)
        action, memory = policy.act(act_key, state.obs, state.prev_action, state.done, state.memory)
        after, outcome = advance(env_key, env, state, action, memory)
        return action, memory, after, outcome

    for first in range(0, num_steps, CHUNK_STEPS):
        keys = jax.random.split(jax.random.fold_in(play_key, first), CHUNK_STEPS)
        for key in keys[: num_steps - first]:
            action, memory, after, outcome = step(policy, state, key)
            yield state, action, memory, outcome
            state = after


@pytest.fixture(scope="module")
def inpainted():
    policy = toy_planner(2, True)
    return policy, filmed(policy)


def test_a_film_shows_the_policys_plans_and_states(inpainted):
    policy, film = inpainted
    steps = list(by_hand(policy, film.steps, stage_env(GAME, ENVS)))
    for t, (state, action, memory, outcome) in enumerate(steps):
        np.testing.assert_array_equal(film.plans[t], memory.plan[0])
        assert film.positions[t] == memory.hist_len[0]
        assert film.actions[t] == action[0] == film.plans[t, film.positions[t]]
        world = state.env.env_state
        assert film.places[t].tolist() == [0, world.target[0], world.left[0]]
        assert (film.frames[t] == 60 * world.target[0]).all()
        assert film.rewards[t] == outcome.reward[0]
        assert bool(outcome.done[0]) == (t == film.steps - 1)
    # The picture after the last step is of the end: no time is left.
    assert film.places[-1, 2] == 0
    assert len(film.frames) == film.steps + 1
    # With inpainting, what a plan has behind it is what was executed.
    assert film.positions.max() > 1
    for t in range(film.steps):
        position = film.positions[t]
        np.testing.assert_array_equal(film.plans[t, :position], film.actions[t - position : t])


def test_a_trace_is_of_the_plan_that_was_executed(inpainted):
    policy, film = inpainted
    due, memory = [], policy.init(ENVS)
    for t, (state, _, after, _) in enumerate(by_hand(policy, film.steps, stage_env(GAME, ENVS))):
        if memory.observe(state.prev_action, state.done).due[0]:
            due.append((t, int(after.hist_len[0])))
        memory = after
    assert len(due) > 1
    assert list(zip(film.trace_steps, film.trace_locked, strict=True)) == due
    np.testing.assert_array_equal(film.traces[:, -1], film.plans[film.trace_steps])
    assert film.traces.shape[1] == 6


def test_the_probabilities_behind_a_plan_are_recorded(inpainted):
    """Of four actions all are shown, so the distribution of every place and step is in the film."""
    policy, film = inpainted
    planner = policy.planner
    grid, k = make_grid(planner.sampler), 1
    states = list(by_hand(policy, int(film.trace_steps[k]) + 1, stage_env(GAME, ENVS)))
    obs = states[-1][0].obs[:1]
    tokens = tokens_over_steps(film, k)
    shares = np.zeros((*tokens[1:].shape, NUM_ACTIONS))

    @jax.jit
    def shares_of(before, t):
        logits = planner.denoiser.apply(policy.params, obs, before[None], t[None])
        return token_probs(logits, planner.sampler.temperature, planner.sampler.top_p)[0]

    for step, before in enumerate(tokens[:-1]):
        shares[step] = shares_of(before.astype(int), grid.t[step])
    at = np.argsort(film.top_actions[k], axis=-1)
    recorded = np.take_along_axis(film.top_probs[k], at, axis=-1)
    np.testing.assert_allclose(recorded, shares, atol=2e-3)
    assert (np.diff(film.top_probs[k].astype(float), axis=-1) <= 0).all()
    # A token's confidence is the probability that it had in the step that drew it.
    drawn = (tokens[:-1] == NUM_ACTIONS) & (tokens[1:] < NUM_ACTIONS)
    assert drawn.any()
    for step, place in np.argwhere(drawn):
        share = shares[step, place, tokens[step + 1, place]]
        assert film.confidence[k, step, place] == pytest.approx(share, abs=2e-3)
    assert not film.remask_probs[k][tokens[:-1] == NUM_ACTIONS].any()
    assert (film.remask_probs[k][remasked(film, k)[1:]] > 0).all()


def test_an_expert_is_asked_and_changes_nothing(inpainted):
    policy, film = inpainted
    asked = filmed(policy, expert=toy_expert())
    assert film.expert_probs.shape == (film.steps, 0)
    assert asked.expert_probs.argmax(axis=1).tolist() == asked.places[:-1, 1].tolist()
    assert (asked.expert_probs.sum(axis=1) == 1).all()
    for name in ("actions", "plans", "traces", "rewards", "places"):
        np.testing.assert_array_equal(getattr(asked, name), getattr(film, name))


def test_the_world_by_day_and_its_changes_are_recorded(inpainted):
    _, film = inpainted
    targets, left = film.places[:, 1], film.places[:, 2]
    seen = film.sprites[film.views].swapaxes(2, 3).reshape(film.steps + 1, 4, 6, 3)
    by_day = np.broadcast_to(60 * targets[:, None, None, None], seen.shape).copy()
    by_day[:, :2, :2] = 7
    np.testing.assert_array_equal(seen, by_day)
    assert len(np.unique(film.sprites, axis=0)) == len(film.sprites)
    np.testing.assert_allclose(film.light, left / LONGEST, atol=1e-3)
    assert (film.vitals[:, 0] == left).all()
    assert film.inventory_names.tolist() == ["b_missed", "a_target"]  # as the camera names them
    assert (film.inventory[:, 1] == targets).all()
    # From the end back to the start, change by change.
    world = film.world.copy()
    for t in range(film.steps, -1, -1):
        expected = np.ones((1, 8, 8), int)
        expected[0, 0, targets[t]] = 0
        np.testing.assert_array_equal(world, expected)
        for _, floor, row, column, before, after in film.changes[film.changes[:, 0] == t]:
            assert world[floor, row, column] == after
            world[floor, row, column] = before


def test_who_neither_ran_out_of_time_nor_won_has_died():
    film = hand_made()
    assert film.died
    assert not film._replace(time_limit=np.array(2)).died
    assert not film._replace(victory=np.array("a")).died
    assert film._replace(victory=np.array("b")).died
    assert not film._replace(ended=np.array([False])).died


def test_episodes_end_where_they_ended_and_unlock_when_they_did():
    film = filmed(toy_expert())
    worlds = start(jax.random.split(KEY)[0], stage_env(GAME, ENVS), ()).env.env_state
    assert film.lengths.tolist() == worlds.left.tolist()
    assert film.ended.all()
    assert film.episode_return == film.steps == film.lengths[0]
    assert film.plans.shape == (film.steps, 0)
    assert film.unlocked_at.tolist() == [[n - 4, n - 1] for n in film.lengths]
    assert film.unlocked == [(film.steps - 4, "ended"), (film.steps - 1, "perfect")]
    shares = unlocked_share(film, LONGEST)
    n = film.lengths[1]
    assert shares[1].tolist() == [0.0] * (n - 4) + [0.5] * 3 + [1.0] * (LONGEST + 2 - n)


def test_a_film_is_cut():
    film = filmed(toy_expert(), max_steps=3)
    assert film.steps == 3
    assert len(film.frames) == 4
    assert not film.ended.any()
    assert (film.unlocked_at <= 3).all()
    whole = filmed(toy_expert())
    np.testing.assert_array_equal(film.places, whole.places[:4])


def test_all_policies_are_seen_in_the_same_world(inpainted):
    _, planner = inpainted
    other = filmed(random_policy(NUM_ACTIONS))
    assert planner.places[0].tolist() == other.places[0].tolist()
    assert planner.lengths.tolist() == other.lengths.tolist()


def hand_made(**changed):
    """A film of two steps and one trace, in which token 1 of position 2 is masked again."""
    mask = 4
    arrays = {
        "frames": np.zeros((3, 32, 32, 3), np.uint8), "places": np.array([[0, 1, 1], [0, 1, 2], [1, 5, 5]]),
        "world": np.zeros((2, 8, 8), int), "tiles": np.zeros((4, 2, 2, 3), np.uint8),
        "actions": np.array([2, 1]), "plans": np.array([[2, 1, 0, 3], [2, 1, 3, 3]]),
        "positions": np.array([0, 1]), "rewards": np.array([0.0, 1.0]), "lengths": np.array([2]),
        "ended": np.array([True]), "unlocked_at": np.array([[2, 0]]), "trace_steps": np.array([1]),
        "trace_locked": np.array([1]),
        "traces": np.array([[[2, mask, 1, mask], [2, 1, mask, mask], [2, 1, 3, 3]]]),
        "top_actions": np.tile(np.array([2, 1], np.uint8), (1, 3, 4, 1)),
        "top_probs": np.tile(np.array([0.75, 0.25], np.float16), (1, 3, 4, 1)),
        "confidence": np.full((1, 3, 4), 0.5, np.float16),
        "remask_probs": np.full((1, 3, 4), 0.1, np.float16),
        "expert_probs": np.array([[0, 0.5, 0.25, 0.25], [0, 1, 0, 0]], np.float16),
        "sprites": np.zeros((2, 4, 4, 3), np.uint8) + 200 * np.arange(2, dtype=np.uint8)[:, None, None, None],
        "views": np.arange(36).reshape(3, 3, 4) % 2, "local_view": np.array([2, 4]),
        "light": np.array([1, 0.5, 0], np.float16), "vitals": np.array([[9], [8], [7]]),
        "vitals_names": np.array(["health"]), "inventory": np.array([[0, 0], [0, 1], [0, 2]]),
        "inventory_names": np.array(["wood", "iron_sword"]), "changes": np.array([[1, 0, 1, 2, 3, 0]]),
        "action_names": np.array(["noop", "left", "do", "make_sword"]), "achievements": np.array(["a", "b"]),
        "time_limit": np.array(9), "victory": np.array(""),
    }  # fmt: skip
    return Film(**(arrays | changed))


def test_remasked_cells_are_those_that_went_back_to_the_mask():
    film = hand_made()
    assert tokens_over_steps(film, 0)[0].tolist() == [2, 4, 4, 4]
    assert np.argwhere(remasked(film, 0)).tolist() == [[2, 2]]
    # Of a real trace: in each cell, as often as it was committed but for the last time.
    policy = toy_planner(1, False)
    film = filmed(policy, num_envs=1)
    tokens = tokens_over_steps(film, 0)
    commits = ((tokens[1:] < NUM_ACTIONS) & (tokens[:-1] == NUM_ACTIONS)).sum(axis=0)
    assert remasked(film, 0).sum(axis=0).tolist() == (commits - 1).tolist()
    assert len(film.traces) == film.steps  # with replan_every = 1
    counts = [int(remasked(film, k).sum()) for k in range(film.steps)]
    chosen = chosen_plans(film)
    assert chosen == sorted(chosen)
    assert sorted(counts[k] for k in chosen) == sorted(counts)[-2:]


def test_executed_actions_are_marked():
    film = hand_made()
    assert columns(film, 0, rows=9) == [
        ("executed", []),
        ("plan", [("do", "now"), ("left", "next"), ("noop", "next"), ("make_sword", "next")]),
    ]
    assert columns(film, 1, rows=2) == [
        ("executed", [("do", "done")]),
        ("plan", [("do", "done"), ("left", "now")]),
        ("", [("make_sword", "next")] * 2),
    ]
    assert columns(film, 2, rows=9) == [("executed", [("do", "done"), ("left", "done")])]
    none = hand_made(plans=np.zeros((2, 0), int))
    assert columns(none, 1, rows=9) == [("executed", [("do", "done"), ("left", "now")])]


def test_a_long_episode_is_cut_to_what_fits(tmp_path, monkeypatch):
    steps = 40
    noise = np.random.default_rng(0).integers(0, 255, (steps + 1, 48, 48, 3), np.uint8)
    film = hand_made(
        frames=noise, actions=np.ones(steps, int), plans=np.zeros((steps, 0), int),
        positions=np.zeros(steps, int), rewards=np.zeros(steps),
    )  # fmt: skip
    path = tmp_path / "episode.gif"
    assert draw_episode(film, path, "noise") == 1
    size = path.stat().st_size
    with Image.open(path) as gif:
        assert gif.n_frames == len(shown_steps(steps, 1)) == steps + 1
    monkeypatch.setattr(episode, "MAX_BYTES", size // 3)
    stride = draw_episode(film, path, "noise")
    assert stride >= 3
    assert path.stat().st_size <= size // 3
    with Image.open(path) as gif:
        assert gif.n_frames == len(shown_steps(steps, stride))
    assert shown_steps(7, 3) == [0, 3, 6, 7]


def test_maps_and_paths():
    film = hand_made(world=np.arange(2 * 8 * 8).reshape(2, 8, 8) // 5 % 4)
    film = film._replace(tiles=np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3))
    assert visited_floors(film) == [0, 1]
    pixels = map_pixels(film, 1)
    assert pixels.shape == (16, 16, 3)
    np.testing.assert_array_equal(pixels[2:4, 6:8], film.tiles[film.world[1, 1, 3]])
    assert [leg.tolist() for leg in legs(film, 0)] == [[[1, 1], [1, 2]]]
    back = film._replace(places=np.array([[0, 1, 1], [1, 1, 1], [0, 2, 2]]))
    assert [leg.tolist() for leg in legs(back, 0)] == [[[1, 1]], [[2, 2]]]


def film_config(**keys):
    usual = {"seed": 0, "env_name": CLASSIC, "film_num_envs": 2, "film_steps": 70, "diffusion_steps_eval": 4}
    return build(FilmConfig, [*base_layers(None), Layer("test", usual | keys)])


@pytest.mark.slow
def test_a_planner_in_craftax_is_filmed_and_drawn(make_run, tmp_path):
    path = str(save_planner(tmp_path / "checkpoint"))
    run = make_run("film", "planner/s0")
    with run:
        run_film(film_config(checkpoint_path=path, replan_every=2), run)
    film, folder = read_film(run.folder / "film.npz"), run.folder
    assert json.loads((folder / "run.json").read_text())["frames_per_second"] > 0
    assert film.frames.shape == (film.steps + 1, 144, 144, 3)
    assert film.frames.std() > 20
    # Craftax's own loader of textures writes into the installed package.
    assert not list(Path(craftax.__file__).parent.rglob("*.pbz2"))
    assert film.world.shape == (1, 64, 64)
    # One walks at most a step at a time, and only with an action that walks.
    moved = np.abs(np.diff(film.places[:, 1:], axis=0)).sum(axis=1)
    assert moved.max() == 1
    walking = [str(film.action_names[a]) in ("left", "right", "up", "down") for a in film.actions]
    assert not moved[~np.array(walking)].any()
    np.testing.assert_array_equal(
        film.actions, film.plans[np.arange(film.steps), film.positions]
    )  # what is drawn is what was done
    for k, step in enumerate(film.trace_steps):
        np.testing.assert_array_equal(film.traces[k, -1], film.plans[step])

    title = film_title(folder)
    assert title == f"Planner in {CLASSIC}, seed 0"
    stride = draw_episode(film, folder / "episode.gif", title)
    assert (folder / "episode.gif").stat().st_size < 3_000_000
    with Image.open(folder / "episode.gif") as gif:
        assert gif.n_frames == len(shown_steps(film.steps, stride))
    draw_denoising(film, folder / "denoising.png", title)
    draw_path(film, folder / "path.png", title)
    draw_unlocks({"ppo_rnn": film, "planner": film}, folder / "unlocks.png", title)
    pictures = [folder / name for name in ("episode.gif", "denoising.png", "path.png", "unlocks.png")]
    # By day, with nothing in the player's hands; the picture has nine rows, of which seven are the world's.
    assert film.views.shape == (film.steps + 1, 9, 9)
    assert film.local_view.tolist() == [7, 9]
    clear = film.sprites[film.views[0]].swapaxes(1, 2).reshape(144, 144, 3)
    np.testing.assert_array_equal(clear[112:], film.frames[0][112:])
    assert film.vitals_names.tolist() == ["health", "food", "drink", "energy"]
    assert film.vitals[0].tolist() == [9] * 4
    assert not film.inventory[0].any()
    assert len(film.inventory_names) == 12
    draw_viewer([str(folder / "film.npz")], folder / "episode.html")
    assert 50_000 < (folder / "episode.html").stat().st_size < 1_000_000
    gallery = tmp_path / "paper" / "gallery.html"
    draw_gallery([str(picture) for picture in pictures], gallery.with_suffix(""))
    for picture in pictures:
        link = f"../planner/s0/{picture.name}"
        assert f'src="{link}"' in gallery.read_text()
        assert (gallery.parent / link).resolve() == picture.resolve()
        assert picture.stat().st_size > 1000
