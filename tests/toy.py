"""A toy game whose best play is known, in place of Craftax: it fits wherever a `Game` does.

The observation is a one-hot target, which moves on by one every step whatever is done, and how
many steps are left. Hitting the target earns 1, so the best return is the episode's length, the
expert's plan from target k is k, k + 1, ..., and uniform play earns 1 / NUM_ACTIONS a step.
"""

import jax
import jax.numpy as jnp
from flax import struct

from remdm.envs.batch import BatchEnv
from remdm.envs.craftax import Game
from remdm.envs.policy import Policy
from remdm.envs.wrappers import LogWrapper, OnDemandResetVecEnvWrapper, OptimisticResetVecEnvWrapper

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
)


def toy_env(num_envs, block=1, reset_ratio=None):
    env = LogWrapper(GAME.env)
    if reset_ratio is not None:
        return BatchEnv(GAME, OptimisticResetVecEnvWrapper(env, num_envs, reset_ratio))
    return BatchEnv(GAME, OnDemandResetVecEnvWrapper(env, num_envs, block))


def toy_expert():
    """Hits every target."""
    return Policy(
        None, lambda batch_size: (), lambda params, key, obs, *_: (obs[:, :NUM_ACTIONS].argmax(-1), ())
    )
