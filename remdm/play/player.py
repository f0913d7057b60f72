"""A policy in fresh worlds, compiled and ready to play in chunks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from remdm.base.program import compiled
from remdm.envs.batch import BatchEnv
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, Transition, rollout, start

CHUNK_STEPS = 64


class Player(NamedTuple):
    """Plays `CHUNK_STEPS` steps at a time; compiled beforehand, so that playing can be timed separately."""

    play: Callable[[jax.Array, Policy, PlayState], tuple[PlayState, Any]]
    policy: Policy
    state: PlayState
    key: jax.Array

    def start(self, first: int) -> tuple["Player", Any]:
        """Start the next chunk, whose first step is number `first`; its results are on the device."""
        state, kept = self.play(jax.random.fold_in(self.key, first), self.policy, self.state)
        return self._replace(state=state), kept

    def chunk(self, first: int) -> tuple["Player", Any]:
        """Play the next chunk to its end; its results are on the host."""
        player, kept = self.start(first)
        return player, jax.device_get(kept)


def compile_player(
    key: jax.Array, env: BatchEnv, policy: Policy, keep: Callable[[Transition], Any]
) -> Player:
    """Start the games and compile a chunk of steps.

    Args:
        keep: a step's transition -> results, arrays [E, ...]; the rest is never computed.
    """
    start_key, play_key = jax.random.split(key)
    state = jax.jit(lambda key: start(key, env, policy.init(env.num_envs)))(start_key)

    return Player(compiled(play_chunk(env, keep), play_key, policy, state), policy, state, play_key)


def play_chunk(
    env: BatchEnv, keep: Callable[[Transition], Any]
) -> Callable[[jax.Array, Policy, PlayState], tuple[PlayState, Any]]:
    """The function that `compile_player` compiles."""

    def play(key: jax.Array, policy: Policy, state: PlayState) -> tuple[PlayState, Any]:
        return rollout(key, env, policy, state, CHUNK_STEPS, keep)

    return play
