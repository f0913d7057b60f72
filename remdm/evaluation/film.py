"""Film a policy: everything that is needed to draw one episode, and when others unlock what."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from remdm.base.program import compiled
from remdm.envs.batch import BatchEnv
from remdm.envs.camera import Camera, Shot
from remdm.envs.craftax import Game
from remdm.envs.wrappers import BatchEnvWrapper, LogWrapper
from remdm.play.cycle import PlanCycle
from remdm.play.player import CHUNK_STEPS
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, Transition, rollout, start

Trace = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


@struct.dataclass
class Moment:
    """One step; stacked over time, arrays are [T, ...]. What has no axis E is of the first environment."""

    world: Any  # the state before the action
    plan: jax.Array  # [H], H = 0 for a policy that has none
    position: jax.Array  # of the action within the plan
    action: jax.Array
    reward: jax.Array
    done: jax.Array  # [E], whether the episode ends with the action
    unlocked: jax.Array  # [E, A], achievements so far, after the action


class Film(NamedTuple):
    """A policy in fresh worlds, before the cameras; compiled, so that playing can be timed apart."""

    play: Callable[[jax.Array, Policy, PlayState], tuple[PlayState, Moment]]
    trace: Callable[[jax.Array, PlayState], tuple[jax.Array, Any]] | None
    shoot: Callable[[Any], Shot]  # of one environment; by itself, its program is the same for every policy
    policy: Policy
    state: PlayState
    key: jax.Array

    def roll(
        self, max_steps: int, on_progress: Callable[[int], None] = lambda steps: None
    ) -> dict[str, np.ndarray]:
        """Play until every episode is over, or for `max_steps`.

        Returns:
            What happened, as `_cut` tells it.
        """
        state, moments, shots, traces = self.state, [], [], {}
        over = np.zeros(state.done.shape, bool)
        for first in range(0, max_steps, CHUNK_STEPS):
            key = jax.random.fold_in(self.key, first)
            if self.trace is not None:
                due, traced = jax.device_get(self.trace(key, state))
                if due:
                    traces[first] = traced
            state, recorded = self.play(key, self.policy, state)
            moment = jax.device_get(recorded)
            steps = 0 if over[0] else CHUNK_STEPS
            shots += [self._shot(jax.tree.map(lambda x, t=t: x[t], moment.world)) for t in range(steps)]
            moments.append(moment.replace(world=None))
            over |= moment.done.any(axis=0)
            on_progress(min(first + CHUNK_STEPS, max_steps))
            if over.all():
                break
        shots.append(self._shot(_first(state.env.env_state)))
        whole = jax.tree.map(lambda *parts: np.concatenate(parts), *moments)
        return _cut(whole, jax.tree.map(lambda *parts: np.stack(parts), *shots), max_steps, traces)

    def _shot(self, world: Any) -> Shot:
        shot: Shot = jax.device_get(self.shoot(world))
        return shot


def stage_env(game: Game, num_envs: int) -> BatchEnv:
    """Environments for one episode each: nobody replaces a world whose episode is over."""
    return BatchEnv(game, BatchEnvWrapper(LogWrapper(game.env), num_envs))


def compile_film(
    key: jax.Array, env: BatchEnv, policy: Policy, camera: Camera, trace: Trace | None = None
) -> Film:
    """Make ready to film the first episode of every environment.

    The worlds depend on the key alone, so that all policies filmed with it are seen in the same ones.

    Args:
        env: of `stage_env`.
        trace: how a planner's plans come about, `PlannerPolicy.trace`; asked for at the first step of every
            chunk.
    """
    start_key, play_key = jax.random.split(key)
    state = jax.jit(lambda key: start(key, env, policy.init(env.num_envs)))(start_key)
    return Film(
        play=compiled(partial(_play, env=env, unlocked=camera.unlocked), play_key, policy, state),
        trace=trace and compiled(partial(_trace, trace), play_key, state),
        shoot=compiled(camera.shoot, _first(state.env.env_state)),
        policy=policy,
        state=state,
        key=play_key,
    )


def names(game: Game, camera: Camera) -> dict[str, np.ndarray]:
    """What the numbers in a film stand for: the other arrays of `film.npz`."""
    return {
        "tiles": camera.tiles,
        "action_names": np.array(camera.actions),
        "achievements": np.array(game.achievements),
    }


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[0], tree)


def _play(
    key: jax.Array,
    policy: Policy,
    state: PlayState,
    env: BatchEnv,
    unlocked: Callable[[Any], jax.Array],
) -> tuple[PlayState, Moment]:
    def act(key: jax.Array, state: PlayState) -> tuple[jax.Array, Any, Any]:
        action, memory, _ = policy(key, state)
        return action, memory, (_first(state.env.env_state), *_plan(memory), unlocked(state.env.env_state))

    def keep(played: Transition) -> Moment:
        world, plan, position, before = played.extras
        step = played.step
        return Moment(world, plan, position, played.action[0], step.reward[0], step.done, before)

    state, moments = rollout(key, env, act, state, CHUNK_STEPS, keep)
    last = unlocked(state.env.env_state)
    return state, moments.replace(unlocked=jnp.concatenate([moments.unlocked[1:], last[None]]))


def _plan(memory: Any) -> tuple[jax.Array, jax.Array]:
    """The first environment's plan [H], and the position in it that is executed."""
    if isinstance(memory, PlanCycle):
        return memory.plan[0], memory.hist_len[0]
    return jnp.zeros(0, jnp.int32), jnp.zeros((), jnp.int32)


def _trace(trace: Trace, key: jax.Array, state: PlayState) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """How the first environment's plan comes about at the first step of a chunk, if one is due there.

    Returns:
        Whether one is, and its executed actions' number and its tokens after every denoising step [S, H].
    """
    act_key, _ = jax.random.split(jax.random.split(key, CHUNK_STEPS)[0])  # as `rollout` draws it
    cycle = state.memory.observe(state.prev_action, state.done)
    _, tokens = trace(act_key, state.obs, cycle.history, cycle.hist_len)
    return cycle.due[0], (cycle.hist_len[0], tokens[:, 0])


def _cut(
    whole: Any, shots: Any, max_steps: int, traces: dict[int, tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What was recorded, without what came after the episodes' ends: most arrays of `film.npz`.

    `remdm.analysis.film.Film` describes them.

    Args:
        whole: a `Moment` of all steps, and `shots` a `Shot` of these and the end, both in numpy.
    """
    max_steps = min(max_steps, len(whole.done))
    done = whole.done[:max_steps]
    ended = done.any(axis=0)
    length = np.where(ended, done.argmax(axis=0) + 1, max_steps)
    within = np.arange(max_steps)[:, None] < length
    unlocked = whole.unlocked[:max_steps] & within[..., None]
    steps = int(length[0])
    traces = {step: traced for step, traced in traces.items() if step < steps}
    return {
        "frames": shots.pixels[: steps + 1],
        "places": shots.place[: steps + 1],
        "world": shots.world[steps],
        "actions": whole.action[:steps],
        "plans": whole.plan[:steps],
        "positions": whole.position[:steps],
        "rewards": whole.reward[:steps],
        "lengths": length,
        "ended": ended,
        "unlocked_at": np.where(unlocked.any(axis=0), unlocked.argmax(axis=0) + 1, 0),
        "trace_steps": np.array(list(traces), int),
        "trace_locked": np.array([locked for locked, _ in traces.values()], int),
        "traces": np.array([tokens for _, tokens in traces.values()], int),
    }
