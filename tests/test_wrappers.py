"""Every wrapper on a toy with known transitions, and all of them together on Craftax."""

import copy
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remdm.envs.craftax import load_game
from remdm.envs.past import SequenceHistoryWrapper
from remdm.envs.wrappers import (
    AchievementsWrapper,
    AutoResetEnvWrapper,
    BatchEnvWrapper,
    LogWrapper,
    OptimisticResetVecEnvWrapper,
    PooledResetVecEnvWrapper,
    PooledState,
    Wrapper,
)
from remdm.play.buffer import draw_places, empty, insert
from remdm.play.cycle import idle_cycle
from remdm.play.planning import (
    DiscreteTokenizationWrapper,
    OfflineTrajectoryWrapper,
    PlannerWrapper,
)
from tests.toy import GAME, LONGEST, NUM_ACTIONS

TOY = GAME.env


def play(env, actions, params=None, seed=0):
    """The first world, and what actions [T, ...] give: (obs, state, reward, done, info), arrays [T, ...]."""

    def run(key):
        reset_key, play_key = jax.random.split(key)
        obs, state = env.reset(reset_key, params)

        def step(state, inputs):
            key, action = inputs
            outcome = env.step(key, state, action, params)
            return outcome[1], outcome

        keys = jax.random.split(play_key, len(actions))
        return (obs, state), jax.lax.scan(step, state, (keys, actions))[1]

    return jax.device_get(jax.jit(run)(jax.random.PRNGKey(seed)))


def assert_equal_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype, path
        assert a.tobytes() == b.tobytes(), path


def some_actions(num_steps, *shape, num_actions=NUM_ACTIONS):
    return jax.random.randint(jax.random.PRNGKey(7), (num_steps, *shape), 0, num_actions)


# --- statistics and resets ---


def test_wrappers_pass_on_what_they_do_not_define():
    env = Wrapper(LogWrapper(BatchEnvWrapper(TOY, 3)))
    assert env.num_envs == 3
    assert copy.copy(env).num_envs == 3
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = env.no_such_thing


def test_achievements_are_reported_while_an_episode_goes_on():
    """Craftax keeps them in the state, and tells of them at the end alone."""

    class Gathering:
        def step(self, key, state, action, params):
            state = SimpleNamespace(achievements=state.achievements.at[action].set(True))
            done = state.achievements.all()
            info = {
                f"Achievements/{name}": state.achievements[i] * done * 100.0 for i, name in enumerate("ab")
            }
            return jnp.zeros(1), state, 0.0, done, info

    env = AchievementsWrapper(Gathering(), ("a", "b"))
    state = SimpleNamespace(achievements=jnp.zeros(2, bool))
    for action, expected in ((1, (0, 100)), (1, (0, 100)), (0, (100, 100))):
        _, state, _, done, info = env.step(None, state, action, None)
        assert (info["Achievements/a"], info["Achievements/b"]) == expected
        assert done == all(expected)


def test_log_reports_an_episode_when_it_ends():
    env = LogWrapper(TOY)
    _, state = env.reset(jax.random.PRNGKey(0), None)
    length, target = int(state.env_state.left), int(state.env_state.target)
    for t in range(length):
        # Two targets are hit and the others missed.
        action = (target + t + (t >= 2)) % NUM_ACTIONS
        _, state, _, done, info = env.step(jax.random.PRNGKey(1), state, action, None)
        assert info["timestep"] == t + 1
        assert info["returned_episode"] == done == (t == length - 1)
        assert info["returned_episode_returns"] == (2 if done else 0)
        assert info["returned_episode_lengths"] == (length if done else 0)
        assert (info["episode_return"], info["episode_length"]) == (min(t + 1, 2), t + 1)
    assert "Achievements/ended" in info
    assert (state.episode_return, state.episode_length) == (0, 0)


def test_auto_reset_starts_the_next_episode_from_nothing():
    env = AutoResetEnvWrapper(LogWrapper(TOY))
    _, (obs, state, reward, done, info) = play(env, some_actions(60))
    ends = np.flatnonzero(done)
    begins = np.append(0, ends[:-1] + 1)
    assert len(ends) >= 4
    assert (info["returned_episode_lengths"][ends] == ends + 1 - begins).all()
    assert (info["returned_episode_returns"][ends] == np.add.reduceat(reward[: ends[-1] + 1], begins)).all()
    assert not info["returned_episode_lengths"][~done].any()
    # The observation that comes with the end is that of a fresh world, whose statistics are zero.
    assert (obs[ends[:-1], -1] * LONGEST).round().tolist() == np.diff(ends).tolist()
    assert not state.timestep[ends].any()
    assert len(np.unique(state.env_state.world)) == len(ends) + 1


def test_auto_reset_takes_the_world_of_its_second_key():
    env = AutoResetEnvWrapper(TOY)
    _, state = env.reset(jax.random.PRNGKey(0), None)
    key = jax.random.PRNGKey(1)
    fresh = TOY.reset(jax.random.split(key)[1], None)
    obs, going_on, _, done, _ = env.step(key, state, jnp.array(0), None)
    assert not done
    assert going_on.world == state.world
    obs, new, _, done, _ = env.step(key, state.replace(left=jnp.array(1)), jnp.array(0), None)
    assert done
    assert_equal_bits(jax.device_get((obs, new)), jax.device_get(fresh))


def test_a_batch_is_its_environments_one_by_one():
    key, actions = jax.random.PRNGKey(0), some_actions(5)
    batch = BatchEnvWrapper(TOY, 5)
    first = batch.reset(key, None)
    outcome = batch.step(key, first[1], actions, None)
    for e, one_key in enumerate(jax.random.split(key, 5)):
        one_first = TOY.reset(one_key, None)
        one_outcome = TOY.step(one_key, one_first[1], actions[e], None)
        jax.tree.map(
            lambda many, one, e=e: np.testing.assert_allclose(many[e], one, rtol=1e-6),
            (first, outcome),
            (one_first, one_outcome),
        )


@pytest.mark.parametrize(("reset_ratio", "num_fresh"), [(1, 12), (4, 3), (5, 2), (100, 1)])
def test_optimistic_resets_share_worlds_only_when_they_must(reset_ratio, num_fresh):
    env = OptimisticResetVecEnvWrapper(TOY, 12, reset_ratio)
    _, state = env.reset(jax.random.PRNGKey(0), None)
    ending = np.arange(12) % 3 > 0  # eight of them
    state = state.replace(left=jnp.where(ending, 1, 9))
    obs, new, _, done, _ = env.step(jax.random.PRNGKey(1), state, jnp.zeros(12, int), None)
    assert (done == ending).all()
    assert (new.world[~ending] == state.world[~ending]).all()
    assert (new.left[~ending] == 8).all()
    handed_out = np.asarray(new.world[ending])
    assert not np.isin(handed_out, state.world).any()
    assert len(np.unique(handed_out)) == min(8, num_fresh)
    # In turn: all worlds are used before one is used again.
    assert (handed_out[num_fresh:] == handed_out[:-num_fresh]).all()
    assert (obs[:, -1] * LONGEST).round().tolist() == new.left.tolist()


class OneWorld(Wrapper):
    """Every reset is the same: then it is of no account whose key it is of."""

    def reset(self, key, params):
        return self.env.reset(jax.random.PRNGKey(5), params)


@pytest.mark.parametrize("pool_size", [1, 2, 4, 9])
def test_pooled_resets_equal_auto_resets_bit_for_bit(pool_size):
    actions = some_actions(80, 6)
    # Six different worlds to begin with, so that not all episodes end at once.
    obs, state = BatchEnvWrapper(LogWrapper(TOY), 6).reset(jax.random.PRNGKey(3), None)
    exact = BatchEnvWrapper(AutoResetEnvWrapper(LogWrapper(OneWorld(TOY))), 6)
    exact.reset = lambda key, params: (obs, state)
    pooled = PooledResetVecEnvWrapper(LogWrapper(OneWorld(TOY)), 6, pool_size)
    empty = pooled.reset(jax.random.PRNGKey(0), None)[1]
    pooled.reset = lambda key, params: (obs, empty.replace(env_state=state))

    first, (*outcome, done, info) = play(exact, actions)
    pooled_first, (pooled_obs, pooled_state, *pooled_outcome) = play(pooled, actions)
    assert {0, 1, 3} <= set(done.sum(axis=1))
    assert_equal_bits((pooled_first[0], pooled_first[1].env_state), first)
    assert_equal_bits([pooled_obs, pooled_state.env_state, *pooled_outcome], [*outcome, done, info])
    # What was handed out was in the pool, and no more was generated than it holds.
    handed_out = np.cumsum(done.sum(axis=1))
    assert (pooled_state.left == -handed_out % pool_size).all()


def test_a_pool_is_refilled_within_a_step_and_from_other_keys():
    """Nine episodes end at once, with two worlds left in a pool of four."""
    pooled = PooledResetVecEnvWrapper(TOY, 9, pool_size=4)
    step = jax.jit(lambda key, state: pooled.step(key, state, jnp.zeros(9, int), None))
    _, state = jax.jit(lambda key: pooled.reset(key, None))(jax.random.PRNGKey(0))
    worlds = []
    for t, ending in enumerate([2, 9, 1]):
        left = jnp.where(jnp.arange(9) < ending, 1, 9)
        state = state.replace(env_state=state.env_state.replace(left=left))
        obs, state, _, done, _ = step(jax.random.PRNGKey(t), state)
        assert done.sum() == ending
        worlds += state.env_state.world[done].tolist()
        assert (obs[:, -1] * LONGEST).round().tolist() == state.env_state.left.tolist()
    assert state.left == 0
    assert len(set(worlds)) == 12


def test_pooled_resets_vectorise():
    """As `num_repeats` does: each repetition plays as it would by itself."""
    pooled, actions = PooledResetVecEnvWrapper(LogWrapper(TOY), 3, pool_size=2), some_actions(40, 3)

    def run(seed):
        _, state = pooled.reset(jax.random.PRNGKey(seed), None)
        keys = jax.random.split(jax.random.PRNGKey(seed + 10), len(actions))
        return jax.lax.scan(lambda s, x: pooled.step(x[0], s, x[1], None)[1::-1], state, (keys, actions))

    together = jax.vmap(run)(jnp.arange(2))
    for seed in range(2):
        one = jax.tree.map(lambda x, seed=seed: x[seed], together)
        jax.tree.map(np.testing.assert_array_equal, one, run(seed))


# --- history and tokens ---


def test_history_slides_and_starts_from_zeros():
    length = 3
    env = AutoResetEnvWrapper(SequenceHistoryWrapper(TOY, length))
    actions = 1 + some_actions(40)  # none of them 0, so that zeros are those before an episode
    (first_obs, first), (obs, state, _, done, _) = play(env, actions)
    assert first.observations.tolist() == [[0] * 5, [0] * 5, first_obs.tolist()]
    assert first.actions.tolist() == [0, 0, 0]

    assert done.sum() >= 3
    seen, led_to = [first_obs], [0]
    for t in range(40):
        if done[t]:
            seen, led_to = [], []
        seen.append(obs[t])
        led_to.append(0 if done[t] else actions[t])
        missing = max(0, length - len(seen))
        assert not state.observations[t, :missing].any()
        assert not state.actions[t, :missing].any()
        assert (state.observations[t, missing:] == seen[-length:]).all()
        assert (state.actions[t, missing:] == np.array(led_to[-length:])).all()


@pytest.mark.parametrize("num_bins", [1, 2, 7, 256])
def test_tokens_are_off_by_half_a_bin_at_most(num_bins):
    low, high = jnp.array([-1.0, 0.0]), jnp.array([1.0, 10.0])
    env = DiscreteTokenizationWrapper(TOY, num_bins, low, high)
    values = low + jnp.linspace(0, 1, 1001)[:, None] * (high - low)
    tokens = env.tokenize(values)
    assert tokens.dtype == jnp.int32
    assert np.unique(tokens).tolist() == list(range(num_bins))
    half = (high - low) / num_bins / 2
    assert (jnp.abs(env.detokenize(tokens) - values) <= half + 1e-5).all()
    assert (env.tokenize(env.detokenize(tokens)) == tokens).all()


def test_tokens_by_hand():
    env = DiscreteTokenizationWrapper(TOY, 4, 0.0, 1.0)
    values = jnp.array([-jnp.inf, -0.1, 0.0, 0.24, 0.25, 0.5, 0.99, 1.0, 7.0, jnp.inf])
    assert env.tokenize(values).tolist() == [0, 0, 0, 0, 1, 2, 3, 3, 3, 3]
    assert env.detokenize(jnp.arange(4)).tolist() == [0.125, 0.375, 0.625, 0.875]
    obs, state = env.reset(jax.random.PRNGKey(0), None)
    assert obs[:NUM_ACTIONS].tolist() == [3 * (k == state.target) for k in range(NUM_ACTIONS)]
    obs, state, *_ = env.step(jax.random.PRNGKey(0), state, jnp.array(0), None)
    assert obs[:NUM_ACTIONS].tolist() == [3 * (k == state.target) for k in range(NUM_ACTIONS)]
    assert obs[-1] == min(3, state.left * 4 // LONGEST)


# --- the plan/replan cycle ---


def follow(inpaint_history, first, replan_every=3, horizon=4):
    """A cycle of two environments that is always given the plan 10 t, 10 t + 1, ..."""
    cycle, executed, trace = idle_cycle(2, horizon, replan_every, inpaint_history), jnp.zeros(2, int), []
    for t, new_episode in enumerate(first):
        cycle = cycle.observe(executed, jnp.array([t == 0, new_episode]))
        due, history, hist_len = cycle.due, cycle.history, cycle.hist_len
        cycle = cycle.adopt(10 * t + jnp.tile(jnp.arange(horizon), (2, 1)))
        executed = cycle.action
        trace.append((due.tolist(), hist_len.tolist(), executed.tolist(), history[:, : hist_len.max()]))
    return list(zip(*trace, strict=True))


def test_cycle_without_history_by_hand():
    # The second environment begins an episode at 4: its plan starts there, and again with the others'.
    due, hist_len, executed, _ = follow(False, first=[1, 0, 0, 0, 1, 0, 0])
    assert [first for first, _ in due] == [1, 0, 0, 1, 0, 0, 1]
    assert [second for _, second in due] == [1, 0, 0, 1, 1, 0, 1]
    assert list(hist_len) == [[0, 0], [1, 1], [2, 2], [0, 0], [1, 0], [2, 1], [0, 0]]
    # Plans given when none is due are ignored.
    assert [first for first, _ in executed] == [0, 1, 2, 30, 31, 32, 60]
    assert [second for _, second in executed] == [0, 1, 2, 30, 40, 41, 60]


def test_cycle_with_history_by_hand():
    # A plan is revised at 3 with its history locked, and starts afresh at H = 4 and at a new episode.
    due, hist_len, executed, history = follow(True, first=[1, 0, 0, 0, 0, 1, 0])
    assert [first for first, _ in due] == [1, 0, 0, 1, 1, 0, 1]
    assert [second for _, second in due] == [1, 0, 0, 1, 1, 1, 1]
    assert list(hist_len) == [[0, 0], [1, 1], [2, 2], [3, 3], [0, 0], [1, 0], [2, 1]]
    assert [first for first, _ in executed] == [0, 1, 2, 33, 40, 41, 62]
    assert [second for _, second in executed] == [0, 1, 2, 33, 40, 50, 61]
    assert history[3].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert history[6][0].tolist() == [40, 41]
    assert history[6][1, 0] == 50


def test_a_plan_is_adopted_once():
    cycle = idle_cycle(1, 2, 1, False).observe(jnp.zeros(1, int), jnp.ones(1, bool))
    cycle = cycle.adopt(jnp.array([[1, 2]]))
    assert cycle.adopt(jnp.array([[3, 4]])).plan.tolist() == [[1, 2]]


def numbered_plans(num_steps, num_envs, horizon):
    """Plan [t, e] is 100 t, 100 t + 1, ...: an action tells which plan it is of, and its place."""
    plans = 100 * jnp.arange(num_steps)[:, None, None] + jnp.arange(horizon)
    return jnp.tile(plans, (1, num_envs, 1))


def executed_actions(done, replan_every, horizon, inpaint_history):
    """What `numbered_plans` come to, from the definition: [T, E]."""
    actions = np.zeros(done.shape, int)
    for e in range(done.shape[1]):
        began = plan = 0
        for t in range(done.shape[0]):
            if t > 0 and (done[t - 1, e] or t - began == horizon):
                began = plan = t
            if t % replan_every == 0:
                plan = t
                began = began if inpaint_history else t
            actions[t, e] = 100 * plan + t - began
    return actions


@pytest.mark.parametrize("inpaint_history", [False, True])
@pytest.mark.parametrize("replan_every", [1, 3, 4])
def test_planner_executes_the_plans_that_were_due(replan_every, inpaint_history):
    num_steps, num_envs, horizon = 40, 5, 4
    batch = PooledResetVecEnvWrapper(TOY, num_envs, 2)
    env = PlannerWrapper(
        OfflineTrajectoryWrapper(batch, num_steps * num_envs), horizon, replan_every, inpaint_history
    )
    (_, first), (_, state, _, done, _) = play(env, numbered_plans(num_steps, num_envs, horizon))
    assert first.cycle.due.all()
    assert done.sum() > 10
    actions = state.env_state.buffer.items.action[-1].reshape(num_steps, num_envs)
    assert (actions == executed_actions(done, replan_every, horizon, inpaint_history)).all()
    assert state.cycle.due[done].all()
    assert not state.cycle.hist_len[done].any()


# --- buffers ---


def numbered(first, count):
    numbers = jnp.arange(first, first + count)
    return {"a": numbers[:, None] * jnp.ones(2), "b": (numbers, numbers % 2 == 0)}


def test_buffer_overwrites_the_oldest():
    one = jax.tree.map(lambda x: x[0], numbered(0, 1))
    buffer = insert(empty(7, one), numbered(0, 4))
    assert (buffer.size, buffer.capacity) == (4, 7)
    buffer = insert(buffer, numbered(4, 4))
    # The eighth item took the place of the first.
    assert buffer.size == 7
    assert buffer.items["a"][:, 0].tolist() == [7, 1, 2, 3, 4, 5, 6]
    assert buffer.items["b"][0].tolist() == [7, 1, 2, 3, 4, 5, 6]
    assert buffer.items["b"][1].tolist() == [False, False, True, False, True, False, True]
    buffer = insert(buffer, numbered(8, 7))
    assert sorted(buffer.items["a"][:, 1].tolist()) == list(range(8, 15))
    with pytest.raises(ValueError, match="8 items at once into a buffer of 7"):
        insert(buffer, numbered(0, 8))


def test_buffer_draws_uniformly_from_what_is_filled():
    buffer = insert(empty(100, jnp.zeros((), int)), jnp.arange(5))
    drawn = np.bincount(np.asarray(draw_places(jax.random.PRNGKey(0), buffer, (50_000,))), minlength=100)
    assert drawn[5:].sum() == 0
    # Standard error 0.0018; four of them.
    assert drawn[:5] / 50_000 == pytest.approx([0.2] * 5, abs=0.0072)


def test_trajectories_are_the_last_transitions():
    num_steps, num_envs, capacity = 50, 4, 30
    env = OfflineTrajectoryWrapper(PooledResetVecEnvWrapper(TOY, num_envs, 1), capacity)
    actions = some_actions(num_steps, num_envs)
    (first_obs, first), (obs, state, reward, done, _) = play(env, actions)
    assert first.buffer.size == 0
    assert state.buffer.size.tolist() == [min(capacity, num_envs * (t + 1)) for t in range(num_steps)]
    acted_on = np.concatenate([first_obs[None], obs[:-1]])
    buffer = jax.tree.map(lambda x: x[-1], state.buffer)
    for number in range(num_steps * num_envs - capacity, num_steps * num_envs):
        t, e = divmod(number, num_envs)
        held = jax.tree.map(lambda x, place=number % capacity: x[place], buffer.items)
        assert (held.obs == acted_on[t, e]).all()
        assert (held.action, held.reward, held.done) == (actions[t, e], reward[t, e], done[t, e])
    assert buffer.items.done.any()


# --- Craftax ---

CRAFTAX_ENVS, CRAFTAX_STEPS, CRAFTAX_LIMIT = 6, 200, 40
CRAFTAX_HORIZON, CRAFTAX_REPLAN, CRAFTAX_CAPACITY, CRAFTAX_WINDOW, CRAFTAX_BINS = 4, 3, 20, 3, 16

RESETS = {
    "exact": lambda env: BatchEnvWrapper(AutoResetEnvWrapper(env), CRAFTAX_ENVS),
    "pooled": lambda env: PooledResetVecEnvWrapper(env, CRAFTAX_ENVS, pool_size=4),
    "optimistic": lambda env: OptimisticResetVecEnvWrapper(env, CRAFTAX_ENVS, reset_ratio=2),
}


def play_craftax(resets, wrap=lambda env: env):
    """All wrappers on one another, with random plans; episodes last 40 steps at most."""
    game = load_game("Craftax-Classic-Symbolic-v1")
    batch = RESETS[resets](SequenceHistoryWrapper(LogWrapper(wrap(game.env)), CRAFTAX_WINDOW))
    env = OfflineTrajectoryWrapper(batch, CRAFTAX_CAPACITY)
    env = PlannerWrapper(env, CRAFTAX_HORIZON, CRAFTAX_REPLAN, inpaint_history=False)
    env = DiscreteTokenizationWrapper(env, CRAFTAX_BINS, 0.0, 1.0)
    plans = some_actions(CRAFTAX_STEPS, CRAFTAX_ENVS, CRAFTAX_HORIZON, num_actions=game.num_actions)
    return plans, *play(env, plans, game.params.replace(max_timesteps=CRAFTAX_LIMIT))


@pytest.mark.slow
def test_craftax_pooled_equals_auto_reset_bit_for_bit():
    """With one world for all, whose key a world is of is the only difference."""

    def comparable(first, outcome):
        (obs, state), (next_obs, next_state, *rest) = first, outcome
        batches = []
        for planner in (state, next_state):
            batch = planner.env_state.env_state
            batches.append(batch.env_state if isinstance(batch, PooledState) else batch)
        return obs, next_obs, *batches, state.cycle, next_state.cycle, next_state.env_state.buffer, rest

    _, *exact = play_craftax("exact", OneWorld)
    _, *pooled = play_craftax("pooled", OneWorld)
    done = exact[1][3]
    # Episodes end alone and together.
    assert {1, CRAFTAX_ENVS} <= set(done.sum(axis=1))
    assert_equal_bits(comparable(*pooled), comparable(*exact))


@pytest.mark.slow
@pytest.mark.parametrize("resets", ["pooled", "optimistic"])
def test_craftax_in_all_wrappers(resets):
    plans, _, (tokens, state, reward, done, info) = play_craftax(resets)
    trajectory, cycle = state.env_state, state.cycle
    history = trajectory.env_state.env_state if resets == "pooled" else trajectory.env_state
    log, obs = history.env_state, trajectory.obs
    assert done.any(axis=0).all()
    times = np.arange(CRAFTAX_STEPS)

    for e in range(CRAFTAX_ENVS):
        ends = np.flatnonzero(done[:, e])
        begins = np.append(0, ends[:-1] + 1)
        lengths = info["returned_episode_lengths"][ends, e]
        assert (lengths == ends + 1 - begins).all()
        assert lengths.max() == CRAFTAX_LIMIT
        sums = [reward[begin : end + 1, e].sum() for begin, end in zip(begins, ends, strict=True)]
        assert info["returned_episode_returns"][ends, e] == pytest.approx(sums, abs=1e-5)
    assert not log.timestep[done].any()
    assert not log.env_state.timestep[done].any()

    # Worlds: a new one wherever an episode ended, shared only by optimistic resets.
    maps = {world.tobytes() for world in log.env_state.map[done]}
    assert (len(maps) == done.sum()) == (resets != "optimistic")

    # History: what was seen before goes on, or is empty at an episode's beginning.
    assert (history.observations[:, :, -1] == obs).all()
    assert not history.observations[done][:, :-1].any()
    assert not history.actions[done].any()
    going_on = ~done[1:]
    assert (history.observations[1:, :, -2][going_on] == obs[:-1][going_on]).all()

    # Tokens: off by half a bin.
    assert tokens.dtype == np.int32
    assert abs((tokens + 0.5) / CRAFTAX_BINS - np.clip(obs, 0, 1)).max() <= 0.5 / CRAFTAX_BINS + 1e-6

    # Plans: each runs from when it was due.
    due_before = np.vstack([np.ones((1, CRAFTAX_ENVS), bool), cycle.due[:-1]])
    planned_at = np.maximum.accumulate(np.where(due_before, times[:, None], 0))
    executed = plans[planned_at, np.arange(CRAFTAX_ENVS), times[:, None] - planned_at]
    assert (history.actions[:, :, -1] == executed)[~done].all()

    # Trajectories: the last transitions, where they belong in the circle.
    numbers = np.arange(CRAFTAX_STEPS * CRAFTAX_ENVS)[-CRAFTAX_CAPACITY:]
    held = jax.tree.map(lambda x: x[-1, numbers % CRAFTAX_CAPACITY], trajectory.buffer.items)
    t, e = np.divmod(numbers, CRAFTAX_ENVS)
    assert (held.obs == obs[t - 1, e]).all()
    assert (held.action == np.asarray(executed)[t, e]).all()
    assert (held.reward == reward[t, e]).all()
    assert (held.done == done[t, e]).all()
