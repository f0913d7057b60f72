"""Exact auto-reset, episode statistics and rollouts: on a toy with known transitions, and on Craftax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remdm.config.env import EnvConfig
from remdm.envs.batch import make_batch_env
from remdm.envs.craftax import load_game
from remdm.envs.packing import pack, packed_size, unpack
from remdm.play.policy import random_policy
from remdm.play.rollout import advance, episode_metrics, first_episodes, play_plans, rollout, start
from tests.tiers import slow_except
from tests.toy import GAME, LONGEST, NUM_ACTIONS, SHORTEST, TWO_LENGTHS_GAME, toy_env, toy_expert


def play(env, policy, num_steps, seed=0):
    def run(key):
        start_key, play_key = jax.random.split(key)
        state = start(start_key, env, policy.init(env.num_envs))
        return rollout(play_key, env, policy, state, num_steps)

    state, transitions = jax.jit(run)(jax.random.PRNGKey(seed))
    return state, jax.device_get(transitions)


@pytest.mark.parametrize("pool_size", [1, 3])
def test_statistics_and_boundaries_of_perfect_play(pool_size):
    _, data = play(toy_env(6, pool_size), toy_expert(), 60)
    step = data.step
    assert (step.reward == 1).all()
    for e in range(6):
        ends = np.flatnonzero(step.done[:, e])
        lengths = np.diff(ends, prepend=-1)
        assert ((lengths >= SHORTEST) & (lengths <= LONGEST)).all()
        # Every step hits, so an episode's return is its length, and both are how far it has come.
        so_far = np.concatenate([np.arange(1, length + 1) for length in lengths])
        assert (step.episode_length[: ends[-1] + 1, e] == so_far).all()
        assert (step.episode_return[: ends[-1] + 1, e] == so_far).all()
        # The observation after the end is the first of the next episode: all its steps are left.
        for end, length in zip(ends[:-1], lengths[1:], strict=True):
            assert data.obs[end + 1, e, -1] * LONGEST == pytest.approx(length)
    assert step.achievements[step.done].all()
    assert not step.achievements[~step.done].any()


@pytest.mark.parametrize("pool_size", [1, 2, 5])
def test_every_new_episode_gets_a_world_of_its_own(pool_size):
    env = toy_env(16, pool_size)

    @jax.jit
    def run(key):
        _, state = env.reset(key)

        def step(state, key):
            _, state, _ = env.step(key, state, jnp.zeros(16, int))
            return state, state.env_state.env_state.world

        return jax.lax.scan(step, state, jax.random.split(key, 100))[1]

    worlds = np.asarray(run(jax.random.PRNGKey(0)))
    changed = np.vstack([np.ones((1, 16), bool), worlds[1:] != worlds[:-1]])
    handed_out = worlds[changed]
    assert len(handed_out) > 150
    assert len(np.unique(handed_out)) == len(handed_out)


def test_environments_that_go_on_are_left_alone():
    """A reset elsewhere changes nothing: the same actions and keys give the same steps without it."""
    env = toy_env(8)
    _, state = env.reset(jax.random.PRNGKey(0))
    new_obs, new_state, step = env.step(jax.random.PRNGKey(1), state, jnp.zeros(8, int))
    bare_obs, bare, *_ = jax.vmap(GAME.env.step, in_axes=(0, 0, 0, None))(
        jax.random.split(jax.random.PRNGKey(1), 8), state.env_state.env_state, jnp.zeros(8, int), None
    )
    going = ~step.done
    assert (new_obs[going] == bare_obs[going]).all()
    assert (new_state.env_state.env_state.left[going] == bare.left[going]).all()


def test_a_plan_ends_with_its_episode():
    env, replan = toy_env(6), 8

    def follow(key, state, planned, over):
        new_state, step = advance(key, env, state, planned, ())
        return new_state, (over, step.done, planned)

    def run(key):
        def plan(key, state):
            return jnp.broadcast_to(jnp.arange(replan), (6, replan)) % NUM_ACTIONS

        return play_plans(key, plan, follow, start(key, env, ()), 40, replan)[1]

    over, done, planned = map(np.asarray, jax.jit(run)(jax.random.PRNGKey(0)))
    assert planned[:, 0].tolist() == [t % replan % NUM_ACTIONS for t in range(40)]
    # Over from the step after an episode's end to the next plan.
    cycles = done.reshape(-1, replan, 6)
    assert (over.reshape(-1, replan, 6) == (np.cumsum(cycles, axis=1) - cycles > 0)).all()
    assert 0 < over.sum() < over.size


def test_episodes_go_on_in_optimistic_resets():
    _, data = play(toy_env(8, reset_ratio=1), toy_expert(), 40)
    assert (data.step.reward == 1).all()
    assert data.step.done.sum() > 20


def test_random_play_earns_what_chance_does():
    _, data = play(toy_env(64), random_policy(NUM_ACTIONS), 500)
    # 32,000 steps: standard error 0.0024; four of them.
    assert data.step.reward.mean() == pytest.approx(1 / NUM_ACTIONS, abs=0.01)


def test_first_episodes_count_whether_they_ended_or_not():
    # Environment 0 ends after two steps and after four, 1 with the last step, 2 never.
    done = jnp.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]], bool)
    reward = jnp.array([[1.0, 1, 1], [2, 2, 2], [4, 4, 4], [8, 8, 8]])
    earned, ended = first_episodes(reward, done)
    assert earned.tolist() == [3.0, 15.0, 15.0]
    assert ended.tolist() == [True, True, False]


def test_episode_metrics_average_over_completed_episodes():
    _, data = play(toy_env(6), toy_expert(), 60)
    metrics = episode_metrics(data.step, GAME.achievements)
    lengths = data.step.episode_length[data.step.done]
    assert metrics["env/episodes"] == len(lengths)
    assert metrics["env/episode_return"] == pytest.approx(lengths.mean())
    assert metrics["env/achievement/perfect"] == 1.0
    assert metrics["env/achievements"] == 2.0
    _, short = play(toy_env(6), toy_expert(), SHORTEST - 1)
    assert np.isnan(episode_metrics(short.step, GAME.achievements)["env/episode_return"])


def test_episode_metrics_leave_out_what_unfinished_episodes_unlocked():
    """Half the worlds are long and unlock something on their way; in twenty steps none of these ends."""
    _, data = play(toy_env(6, game=TWO_LENGTHS_GAME), random_policy(2), 20)
    assert data.step.achievements.any()
    assert episode_metrics(data.step, TWO_LENGTHS_GAME.achievements)["env/achievement/long"] == 0


@pytest.mark.slow
@pytest.mark.optimised
def test_craftax_classic_is_reset_exactly():
    """The real game: facts, boundaries and statistics of random play, and one compilation."""
    config = EnvConfig(
        env_name="Craftax-Classic-Symbolic-v1", use_optimistic_resets=False, optimistic_reset_ratio=16
    )
    env = make_batch_env(config, 16)
    game = env.game
    assert (game.num_actions, game.obs_dim, len(game.achievements)) == (17, 1345, 22)

    policy = random_policy(17)
    run = jax.jit(lambda key, state: rollout(key, env, policy, state, 400))
    state = jax.jit(lambda key: start(key, env, ()))(jax.random.PRNGKey(0))
    state, first = run(jax.random.PRNGKey(1), state)
    # Weak types in the state would compile a second time here.
    state, second = run(jax.random.PRNGKey(2), state)
    assert run._cache_size() == 1

    done = np.concatenate([first.step.done, second.step.done])
    reward = np.concatenate([first.step.reward, second.step.reward])
    returns = np.concatenate([first.step.episode_return, second.step.episode_return])
    achievements = np.concatenate([first.step.achievements, second.step.achievements])
    assert done.sum() > 20
    for e in range(16):
        ends = np.flatnonzero(done[:, e])
        for begin, end in zip([0, *(ends[:-1] + 1)], ends, strict=True):
            assert returns[end, e] == pytest.approx(reward[begin : end + 1, e].sum(), abs=1e-4)
            # Rewards are one for each achievement and a tenth for each health point.
            assert abs(achievements[end, e].sum() - returns[end, e]) < 1.5
    # Achievements of episodes that go on are those so far.
    going = ~done[-1]
    unlocked = np.asarray(state.env.env_state.env_state.achievements)
    assert (achievements[-1][going] == unlocked[going]).all()
    assert unlocked[going].any()
    worlds = np.asarray(state.env.env_state.env_state.map).reshape(16, -1)
    assert len(np.unique(worlds, axis=0)) == 16


@pytest.mark.parametrize(
    ("env_name", "num_actions", "obs_dim", "num_achievements"),
    slow_except(
        [("Craftax-Classic-Symbolic-v1", 17, 1345, 22), ("Craftax-Symbolic-v1", 43, 8268, 67)],
        [("Craftax-Classic-Symbolic-v1", 17, 1345, 22)],
    ),
)
def test_craftax_has_its_published_shapes(env_name, num_actions, obs_dim, num_achievements):
    """Traced, not compiled: that takes half a minute more."""
    config = EnvConfig(env_name=env_name, use_optimistic_resets=True, optimistic_reset_ratio=2)
    env = make_batch_env(config, 4)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    obs, state = jax.eval_shape(env.reset, key)
    next_obs, next_state, step = jax.eval_shape(env.step, key, state, jax.ShapeDtypeStruct((4,), jnp.int32))
    assert (env.game.num_actions, env.game.obs_dim) == (num_actions, obs_dim)
    assert obs.shape == next_obs.shape == (4, obs_dim)
    assert step.achievements.shape == (4, len(env.game.achievements)) == (4, num_achievements)
    # A step's state is a reset's, weak types included: a scan over it compiles once.
    kinds = [[(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(s)] for s in (state, next_state)]
    assert kinds[0] == kinds[1]


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("env_name", ["Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"])
def test_packed_observations_come_back_bit_for_bit(env_name):
    """25,600 states of random play in each game, of 1,345 or 8,268 entries, and the last on every floor."""
    game = load_game(env_name)

    @jax.jit
    def differences(key):
        def step(carry, key):
            worlds, count = carry
            action_key, step_key = jax.random.split(key)
            actions = jax.random.randint(action_key, (256,), 0, game.num_actions)
            obs, worlds, *_ = jax.vmap(game.env.step, (0, 0, 0, None))(
                split(step_key), worlds, actions, game.params
            )
            return (worlds, count + lost(obs)), None

        start_key, play_key = jax.random.split(key)
        obs, worlds = jax.vmap(game.env.reset, (0, None))(split(start_key), game.params)
        (last, count), _ = jax.lax.scan(step, (worlds, lost(obs)), jax.random.split(play_key, 100))
        return count + lost_on_floors(last)

    def split(key):
        return jax.random.split(key, 256)

    def lost(obs):
        again = unpack(pack(obs, game), game)
        bits = [jax.lax.bitcast_convert_type(x, jnp.uint32) for x in (obs, again)]
        return jnp.sum(bits[0] != bits[1])

    def lost_on_floors(world):
        """Of what would be seen on each, whose mobs and blocks random play hardly meets."""
        if not hasattr(world, "player_level"):
            return 0

        def on_floor(floor):
            elsewhere = world.replace(player_level=jnp.full_like(world.player_level, floor))
            return lost(jax.vmap(game.env.get_obs)(elsewhere))

        return jax.lax.map(on_floor, jnp.arange(9)).sum()  # compiled once for all

    assert differences(jax.random.PRNGKey(0)) == 0
    assert 4 * game.obs_dim / packed_size(game) > 20
