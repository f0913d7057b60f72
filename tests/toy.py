"""Toy games whose best play is known, in place of Craftax: they fit wherever a `Game` does.

The first of them is `GAME`.
The observation is a one-hot target, which moves on by one every step whatever is done, and how
many steps are left. Hitting the target earns 1, so the best return is the episode's length, the
expert's plan from target k is k, k + 1, ..., and uniform play earns 1 / NUM_ACTIONS a step.
"""

import jax
import jax.numpy as jnp
from flax import struct

from remdm.envs.batch import BatchEnv
from remdm.envs.craftax import Game
from remdm.envs.paired import PairedResetVecEnvWrapper
from remdm.envs.wrappers import LogWrapper, OptimisticResetVecEnvWrapper, PooledResetVecEnvWrapper
from remdm.play.policy import Policy

NUM_ACTIONS = 4
SHORTEST, LONGEST = 5, 12


@struct.dataclass
class ToyState:
    target: jax.Array
    left: jax.Array
    missed: jax.Array
    world: jax.Array  # a random number that tells worlds apart


class ToyEnv:
    def reset(self, key, params):
        target_key, length_key, world_key = jax.random.split(key, 3)
        state = ToyState(
            target=jax.random.randint(target_key, (), 0, NUM_ACTIONS),
            left=jax.random.randint(length_key, (), SHORTEST, LONGEST + 1),
            missed=jnp.zeros((), bool),
            world=jax.random.randint(world_key, (), 0, 2**30),
        )
        return self._obs(state), state

    def step(self, key, state, action, params):
        hit = action == state.target
        state = ToyState((state.target + 1) % NUM_ACTIONS, state.left - 1, state.missed | ~hit, state.world)
        done = state.left == 0
        info = {"Achievements/ended": done * 100.0, "Achievements/perfect": (done & ~state.missed) * 100.0}
        return self._obs(state), state, hit.astype(jnp.float32), done, info

    def _obs(self, state):
        return jnp.append(jax.nn.one_hot(state.target, NUM_ACTIONS), state.left / LONGEST)


GAME = Game(
    env=ToyEnv(),
    params=None,
    num_actions=NUM_ACTIONS,
    obs_dim=NUM_ACTIONS + 1,
    achievements=("ended", "perfect"),
    num_binary=NUM_ACTIONS,
)


def toy_env(num_envs, pool_size=2, reset_ratio=None, game=None):
    game = game or GAME
    env = LogWrapper(game.env)
    if reset_ratio is not None:
        return BatchEnv(game, OptimisticResetVecEnvWrapper(env, num_envs, reset_ratio))
    return BatchEnv(game, PooledResetVecEnvWrapper(env, num_envs, pool_size))


def paired_env(num_envs, block_size=2, game=None):
    game = game or GAME
    return BatchEnv(game, PairedResetVecEnvWrapper(LogWrapper(game.env), num_envs, block_size))


def toy_expert():
    """Hits every target."""
    return Policy(
        None, lambda batch_size: (), lambda params, key, obs, *_: (obs[:, :NUM_ACTIONS].argmax(-1), ())
    )


@struct.dataclass
class MemoryState:
    cue: jax.Array
    time: jax.Array


class MemoryEnv:
    """A cue is shown once; after `WAIT` blank steps, answering with it earns 1, anything else 0.

    Whoever remembers earns 1 an episode; whoever sees only the present cannot expect more than 1/2.
    """

    WAIT = 3

    def reset(self, key, params):
        state = MemoryState(jax.random.randint(key, (), 0, 2), jnp.zeros((), jnp.int32))
        return self._obs(state), state

    def step(self, key, state, action, params):
        done = state.time == self.WAIT
        hit = done & (action == state.cue)
        state = MemoryState(state.cue, state.time + 1)
        info = {"Achievements/ended": done * 100.0, "Achievements/perfect": hit * 100.0}
        return self._obs(state), state, hit.astype(jnp.float32), done, info

    def _obs(self, state):
        cue = jax.nn.one_hot(state.cue, 2) * (state.time == 0)
        return jnp.concatenate([cue, jax.nn.one_hot(state.time, self.WAIT + 1)])


MEMORY_GAME = Game(
    MemoryEnv(), None, num_actions=2, obs_dim=2 + MemoryEnv.WAIT + 1, achievements=("ended", "perfect")
)


@struct.dataclass
class ChainState:
    place: jax.Array
    time: jax.Array


class ChainEnv:
    """A combination lock of `LENGTH` places: one action in four leads on, the others nowhere.

    Only the last place earns a reward, 1, and ends the episode; so does time. The best return is 1;
    of random play's episodes, one in 26,000 gets there and one in six halfway.
    """

    LENGTH, TIME = 10, 12
    COMBINATION = (2, 0, 3, 1, 1, 2, 0, 3, 1, 2)

    def reset(self, key, params):
        state = ChainState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return self._obs(state), state

    def step(self, key, state, action, params):
        right = action == jnp.array(self.COMBINATION)[state.place]
        place, time = state.place + right, state.time + 1
        arrived = place == self.LENGTH
        done = arrived | (time == self.TIME)
        state = ChainState(place, time)
        halfway = done & (place >= self.LENGTH // 2)
        info = {"Achievements/halfway": halfway * 100.0, "Achievements/perfect": arrived * 100.0}
        return self._obs(state), state, arrived.astype(jnp.float32), done, info

    def _obs(self, state):
        return jax.nn.one_hot(state.place, self.LENGTH + 1)


CHAIN_GAME = Game(
    ChainEnv(), None, num_actions=4, obs_dim=ChainEnv.LENGTH + 1, achievements=("halfway", "perfect")
)


@struct.dataclass
class TwoLengthsState:
    long: jax.Array
    time: jax.Array


class TwoLengthsEnv:
    """Half of all worlds are short and return little, half are long and return much, whatever is done.

    Every step earns 1, so the mean return is the mean of the two lengths. `time` ends the long ones, which
    have unlocked `long` once the short ones would have ended.
    """

    SHORT, LONG = 4, 40

    def reset(self, key, params):
        state = TwoLengthsState(jax.random.bernoulli(key), jnp.zeros((), jnp.int32))
        return self._obs(state), state

    def step(self, key, state, action, params):
        state = TwoLengthsState(state.long, state.time + 1)
        done = state.time == jnp.where(state.long, self.LONG, self.SHORT)
        info = {"Achievements/long": (state.time > self.SHORT) * 100.0}
        return self._obs(state), state, jnp.ones(()), done, info

    def _obs(self, state):
        return jnp.array([state.long, state.time / self.LONG], jnp.float32)


TWO_LENGTHS_GAME = Game(
    TwoLengthsEnv(), None, num_actions=2, obs_dim=2, achievements=("long",), time_limit=TwoLengthsEnv.LONG
)
