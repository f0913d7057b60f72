"""Record a policy: everything needed to draw one episode, and when others unlock achievements."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from remdm.base.program import compiled
from remdm.envs.batch import BatchEnv
from remdm.envs.camera import TILE, Camera, Shot
from remdm.envs.craftax import Game
from remdm.envs.past import game_state
from remdm.envs.wrappers import BatchEnvWrapper, LogWrapper
from remdm.play.cycle import PlanCycle
from remdm.play.player import CHUNK_STEPS
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, Transition, rollout, start

Cast = tuple[Policy, Policy | None]  # the policy that plays, and an expert that labels every state
RecordedAct = Callable[[Any, jax.Array, PlayState], tuple[jax.Array, Any, Any]]
DENOISING = {  # arrays of `film.npz` by the fields of `remdm.planners.recording.Denoising`
    "trace_locked": "locked", "traces": "tokens", "top_actions": "top_actions", "top_probs": "top_probs",
    "confidence": "confidence", "remask_probs": "remask",
}  # fmt: skip


@struct.dataclass
class Moment:
    """One step; stacked over time, arrays are [T, ...]. Those without E are of the first environment."""

    world: Any  # the state before the action
    plan: jax.Array  # [H], H = 0 for a policy without plans
    position: jax.Array  # of the action within the plan
    denoising: Any  # how the plan was denoised, if it is new; () for a policy without plans
    expert: jax.Array  # [V], the expert's distribution; [0] without an expert
    action: jax.Array
    reward: jax.Array
    done: jax.Array  # [E], whether the episode ends with the action
    unlocked: jax.Array  # [E, A], achievements so far, after the action


class Filming(NamedTuple):
    """A policy in fresh worlds, compiled to be recorded, so that playing can be timed separately."""

    play: Callable[[jax.Array, Cast, PlayState], tuple[PlayState, Moment]]
    shoot: Callable[[Any], Shot]  # of one environment; a separate program, the same for all policies
    cast: Cast
    state: PlayState
    key: jax.Array

    def roll(
        self, max_steps: int, on_progress: Callable[[int], None] = lambda steps: None
    ) -> dict[str, np.ndarray]:
        """Play until every episode is over, or for `max_steps`.

        Returns:
            The arrays of `_cut`.
        """
        state, moments, shots = self.state, [], []
        over = np.zeros(state.done.shape, bool)
        for first in range(0, max_steps, CHUNK_STEPS):
            state, recorded = self.play(jax.random.fold_in(self.key, first), self.cast, state)
            moment = jax.device_get(recorded)
            steps = 0 if over[0] else CHUNK_STEPS
            worlds = [jax.tree.map(lambda x, t=t: x[t], moment.world) for t in range(steps)]
            shots += [jax.device_get(self.shoot(world)) for world in worlds]
            moments.append(moment.replace(world=None))
            over |= moment.done.any(axis=0)
            on_progress(min(first + CHUNK_STEPS, max_steps))
            if over.all():
                break
        shots.append(jax.device_get(self.shoot(_first(game_state(state.env)))))
        whole = jax.tree.map(lambda *parts: np.concatenate(parts), *moments)
        return _cut(whole, jax.tree.map(lambda *parts: np.stack(parts), *shots), max_steps)


def stage_env(game: Game, num_envs: int) -> BatchEnv:
    """Environments for one episode each, without automatic resets."""
    return BatchEnv(game, BatchEnvWrapper(LogWrapper(game.env), num_envs))


def compile_film(
    key: jax.Array,
    env: BatchEnv,
    policy: Policy,
    camera: Camera,
    act: RecordedAct | None = None,
    expert: Policy | None = None,
) -> Filming:
    """Compile the recording of the first episode of every environment.

    The worlds depend only on the key, so all policies recorded with it play in the same worlds.

    Args:
        env: of `stage_env`.
        act: (policy, key, state) -> actions, memory and a `Denoising` of the plan; a planner's
            `act_recorded`. None for policies without plans.
        expert: gives a distribution of actions at every state, and does not play.
    """
    start_key, play_key = jax.random.split(key)
    memories = policy.init(env.num_envs), expert and expert.init(env.num_envs)
    state = jax.jit(lambda key: start(key, env, memories))(start_key)
    play = partial(_play, env=env, act=act or Policy.__call__, unlocked=camera.unlocked)
    return Filming(
        play=compiled(play, play_key, (policy, expert), state),
        shoot=compiled(camera.shoot, _first(game_state(state.env))),
        cast=(policy, expert),
        state=state,
        key=play_key,
    )


def names(game: Game, camera: Camera) -> dict[str, np.ndarray]:
    """Names and pictures for the numbers in a film: the other arrays of `film.npz`."""
    return {
        "tiles": camera.tiles,
        "local_view": np.array(camera.local_view),
        "action_names": np.array(camera.actions),
        "achievements": np.array(game.achievements),
        "time_limit": np.array(game.time_limit or 0),
        "victory": np.array(game.victory or ""),
    }


def _first(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[0], tree)


def _play(
    key: jax.Array,
    cast: Cast,
    state: PlayState,
    env: BatchEnv,
    act: RecordedAct,
    unlocked: Callable[[Any], jax.Array],
) -> tuple[PlayState, Moment]:
    policy, expert = cast

    def act_filmed(key: jax.Array, state: PlayState) -> tuple[jax.Array, Any, Any]:
        memory, hidden = state.memory
        probs = jnp.zeros((env.num_envs, 0))
        if expert is not None:
            labelled = replace(state, memory=hidden)
            _, hidden, probs = expert.act_with_probabilities(key, labelled, env.game.num_actions)
        action, memory, denoising = act(policy, key, replace(state, memory=memory))
        world, (plan, position) = game_state(state.env), _plan(memory)
        return (
            action,
            (memory, hidden),
            {
                "world": _first(world),
                "plan": plan,
                "position": position,
                "denoising": denoising,
                "expert": probs[0].astype(jnp.float16),
                "unlocked": unlocked(world),  # before the action
            },
        )

    def keep(played: Transition) -> Moment:
        step = played.step
        return Moment(action=played.action[0], reward=step.reward[0], done=step.done, **played.extras)

    state, moments = rollout(key, env, act_filmed, state, CHUNK_STEPS, keep)
    last = unlocked(game_state(state.env))
    return state, moments.replace(unlocked=jnp.concatenate([moments.unlocked[1:], last[None]]))


def _plan(memory: Any) -> tuple[jax.Array, jax.Array]:
    """The first environment's plan [H], and the position in it that is executed."""
    if isinstance(memory, PlanCycle):
        return memory.plan[0], memory.hist_len[0]
    return jnp.zeros(0, jnp.int32), jnp.zeros((), jnp.int32)


def _cut(whole: Any, shots: Any, max_steps: int) -> dict[str, np.ndarray]:
    """The recording up to the episodes' ends: most arrays of `film.npz`.

    `remdm.analysis.film.Film` describes them.

    Args:
        whole: a `Moment` of all steps, in numpy.
        shots: a `Shot` of all steps and of the end, in numpy.
    """
    max_steps = min(max_steps, len(whole.done))
    done = whole.done[:max_steps]
    ended = done.any(axis=0)
    length = np.where(ended, done.argmax(axis=0) + 1, max_steps)
    within = np.arange(max_steps)[:, None] < length
    unlocked = whole.unlocked[:max_steps] & within[..., None]
    steps = int(length[0])
    shots = jax.tree.map(lambda x: x[: steps + 1], shots)
    return {
        "frames": shots.pixels,
        "places": shots.place,
        "world": shots.world[-1],
        **_daylight(shots),
        "changes": _changes(shots.world),
        "actions": whole.action[:steps],
        "plans": whole.plan[:steps],
        "positions": whole.position[:steps],
        "rewards": whole.reward[:steps],
        "lengths": length,
        "ended": ended,
        "unlocked_at": np.where(unlocked.any(axis=0), unlocked.argmax(axis=0) + 1, 0),
        "expert_probs": whole.expert[:steps],
        **_denoising(whole.denoising, steps),
    }


def _daylight(shots: Shot) -> dict[str, np.ndarray]:
    """The view by day as tiles: each different picture once, and which one is where."""
    count, height, width, _ = shots.clear.shape
    size = np.gcd.reduce([height, width, TILE])
    cells = shots.clear.reshape(count, height // size, size, width // size, size, 3).swapaxes(2, 3)
    rows = np.ascontiguousarray(cells).reshape(-1, size * size * 3)
    keys = rows.view(np.dtype((np.void, rows.shape[1])))[:, 0]
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    return {
        "sprites": rows[first].reshape(-1, size, size, 3),
        "views": places.reshape(count, height // size, width // size).astype(np.min_scalar_type(len(first))),
        "light": np.asarray(shots.light, np.float16),
        **_counted("vitals", shots.vitals),
        **_counted("inventory", shots.inventory),
    }


def _counted(what: str, counts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Numbers by name, [T + 1] each, as one array and its names."""
    columns = [np.asarray(column, np.int16) for column in counts.values()]
    return {what: np.column_stack(columns), f"{what}_names": np.array(list(counts))}


def _changes(worlds: np.ndarray) -> np.ndarray:
    """Each change of a block [C, 6]: step, floor, row, column, its kind before and after.

    Args:
        worlds: kinds of blocks before every step and after the last [T + 1, floors, rows, columns].
    """
    where = np.argwhere(worlds[1:] != worlds[:-1])
    after = where + np.array([1, 0, 0, 0])
    kinds = (worlds[tuple(indices.T)] for indices in (where, after))
    return np.column_stack([after, *kinds]).astype(np.int32)


def _denoising(whole: Any, steps: int) -> dict[str, np.ndarray]:
    """The plans that were made within the steps; empty arrays for a policy without plans."""
    if whole == ():
        empty = dict.fromkeys(DENOISING, np.zeros((0, 0, 0), np.uint8))
        return {"trace_steps": np.zeros(0, int), **empty, "trace_locked": np.zeros(0, int)}
    made = np.flatnonzero(whole.due[:steps])
    return {"trace_steps": made, **{name: getattr(whole, field)[made] for name, field in DENOISING.items()}}
