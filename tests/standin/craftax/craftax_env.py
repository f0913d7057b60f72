"""A game with the interface of Craftax that compiles in no time: an action is a hit if it is the target's."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
from flax import struct

ACTIONS = 4  # so many as targets
HITS = (1, 2, 4)  # so many unlock the first, second and third achievement


@struct.dataclass
class Params:
    max_timesteps: int = 12


@struct.dataclass
class Inventory:
    wood: jax.Array
    potions: jax.Array  # [2]


@struct.dataclass
class State:
    target: jax.Array
    left: jax.Array  # steps
    hits: jax.Array
    achievements: jax.Array  # [3]
    map: jax.Array  # [8, 8], the kinds of its tiles
    player_position: jax.Array  # [2], at the target
    state_rng: jax.Array
    light_level: jax.Array
    is_sleeping: jax.Array
    inventory: Inventory
    player_health: jax.Array
    player_food: jax.Array
    player_drink: jax.Array
    player_energy: jax.Array


class Env:
    num_actions = ACTIONS
    default_params = Params()

    def observation_space(self, params):
        return SimpleNamespace(shape=(ACTIONS + 1,))

    def reset(self, key, params):
        target, left = jax.random.split(key)
        state = State(
            target=jax.random.randint(target, (), 0, ACTIONS),
            left=jax.random.randint(left, (), 5, params.max_timesteps + 1),
            hits=jnp.zeros((), jnp.int32),
            achievements=jnp.zeros(len(HITS), bool),
            map=jnp.arange(64).reshape(8, 8) % ACTIONS,
            player_position=jnp.zeros(2, jnp.int32),
            state_rng=key,
            light_level=jnp.ones(()),
            is_sleeping=jnp.zeros((), bool),
            inventory=Inventory(jnp.zeros((), jnp.int32), jnp.zeros(2, jnp.int32)),
            player_health=jnp.full((), 9),
            player_food=jnp.full((), 9),
            player_drink=jnp.full((), 9),
            player_energy=jnp.full((), 9),
        )
        state = self._placed(state)
        return self._obs(state, params), state

    def step(self, key, state, action, params):
        hits = state.hits + (action == state.target)
        unlocked = hits >= jnp.array(HITS)
        reward = jnp.sum(unlocked & ~state.achievements).astype(jnp.float32)
        state = state.replace(
            target=(state.target + 1) % ACTIONS, left=state.left - 1, hits=hits, achievements=unlocked
        )
        state = self._placed(state)
        return self._obs(state, params), state, reward, state.left == 0, {}

    def _placed(self, state):
        return state.replace(player_position=jnp.stack([0, state.target]))

    def _obs(self, state, params):
        return jnp.append(jax.nn.one_hot(state.target, ACTIONS), state.left / params.max_timesteps)


def make_craftax_env_from_name(name, auto_reset):
    assert name == "Craftax-Classic-Symbolic-v1"
    assert not auto_reset
    return Env()
