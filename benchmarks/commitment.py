"""What it costs to act on a plan: of an expert that must commit itself, and of planners that follow it.

    python -m benchmarks.commitment EXPERT [PLANNER ...] [--every 1 2 4 8] [--steps 2000] [--seed 0]

The expert commits itself to what it does in an imagined continuation of the game, which has the same rules
and other random numbers. So it draws from its own distribution over plans, and its return at each `--every`
is what a planner would earn that had learned this distribution exactly.

The second table has what predictions of a plan's actions, each told of those before it, cost beyond the
expert's entropy. The best that there is, is the mean of the expert's distributions over `--worlds` imagined
continuations in which those actions were executed; each planner's follows.
"""

import argparse
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import rel_entr

from remdm.base.estimates import estimate
from remdm.envs.batch import BatchEnv, pooled
from remdm.envs.craftax import load_game
from remdm.envs.wrappers import LogWrapper
from remdm.experts.acting import ExpertPolicy
from remdm.library import load_expert, load_planner
from remdm.models.denoiser import Denoiser
from remdm.play.policy import Memory
from remdm.play.rollout import PlayState, advance, play_plans, rollout, start


def play_committed(
    key: jax.Array, env: BatchEnv, expert: ExpertPolicy, every: int, num_steps: int
) -> tuple[jax.Array, jax.Array]:
    """Play an expert that decides on `every` actions at a time.

    Returns:
        Whether an episode ended, and its return so far, [T, E] each.
    """

    def plan(key: jax.Array, state: PlayState) -> jax.Array:
        return rollout(key, env, expert, state, every, keep=lambda played: played.action)[1].T

    def follow(
        key: jax.Array, state: PlayState, planned: jax.Array, over: jax.Array
    ) -> tuple[PlayState, tuple[jax.Array, jax.Array]]:
        expert_key, env_key = jax.random.split(key)
        action, memory, _ = expert(expert_key, state)
        # A plan ends with its episode: until the next one, the expert acts as it sees.
        state, step = advance(env_key, env, state, jnp.where(over, action, planned), memory)
        return state, (step.done, step.episode_return)

    start_key, play_key = jax.random.split(key)
    state = start(start_key, env, expert.init(env.num_envs))
    return play_plans(play_key, plan, follow, state, num_steps, every)[1]


class Visited(NamedTuple):
    """States that an expert came to, N times E of them, and what it did in the H steps from there."""

    state: PlayState  # [N, E, ...]
    action: jax.Array  # [N, H, E]
    probs: jax.Array  # [N, H, E, V], what it drew them from
    done: jax.Array  # [N, H, E], whether the episode ended with the action


def visit(key: jax.Array, env: BatchEnv, expert: ExpertPolicy, horizon: int, num_steps: int) -> Visited:
    """Let the expert play from fresh worlds, and keep every H-th state."""
    act = partial(expert.act_with_probabilities, num_actions=env.game.num_actions)

    def piece(state: PlayState, key: jax.Array) -> tuple[PlayState, Visited]:
        after, kept = rollout(
            key,
            env,
            act,
            state,
            horizon,
            keep=lambda played: (played.action, played.extras, played.step.done),
        )
        return after, Visited(state, *kept)

    start_key, play_key = jax.random.split(key)
    state = start(start_key, env, expert.init(env.num_envs))
    return jax.lax.scan(piece, state, jax.random.split(play_key, num_steps // horizon))[1]


def foreseen(
    key: jax.Array, env: BatchEnv, expert: ExpertPolicy, worlds: int, state: PlayState, action: jax.Array
) -> jax.Array:
    """The mean of the expert's distributions over worlds that go on from a state.

    Args:
        action: what is executed [H, E].

    Returns:
        [H, E, V].
    """

    def step(states: PlayState, given: tuple[jax.Array, jax.Array]) -> tuple[PlayState, jax.Array]:
        key, action = given
        logits, memories = jax.vmap(lambda at: expert.logits(at.obs, at.done, at.memory))(states)

        def go_on(world: tuple[jax.Array, PlayState, Memory]) -> PlayState:
            return advance(world[0], env, world[1], action, world[2])[0]

        # One by one: vectorised, an environment makes a new world at every step.
        states = jax.lax.map(go_on, (jax.random.split(key, worlds), states, memories))
        return states, jnp.mean(jax.nn.softmax(logits), axis=0)

    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (worlds, *x.shape)), state)
    return jax.lax.scan(step, states, (jax.random.split(key, len(action)), action))[1]


def predicted(denoiser: Denoiser, params: Any, obs: jax.Array, action: jax.Array) -> jax.Array:
    """A planner's distribution of each action, told of those before it.

    The best prediction is the same at all times of the diffusion, so any will do.

    Args:
        obs: [E, D].
        action: [H, E].

    Returns:
        [H, E, V], or of as many places as its plans have.
    """
    encoding = denoiser.apply(params, obs, method="encode")
    places = min(len(action), denoiser.plan_horizon)
    plans = jnp.zeros((len(obs), denoiser.plan_horizon), jnp.int32).at[:, :places].set(action[:places].T)

    def at(place: jax.Array) -> jax.Array:
        tokens = jnp.where(jnp.arange(denoiser.plan_horizon) < place, plans, denoiser.num_tokens)
        time = jnp.full(len(obs), 1.0 - place / denoiser.plan_horizon)
        return jax.nn.softmax(denoiser.apply(params, encoding, tokens, time, method="denoise")[:, place])

    return jax.lax.map(at, jnp.arange(places))


def gaps(visited: Visited, probs: np.ndarray) -> np.ndarray:
    """Cross-entropy of distributions [N, H, E, V] with the expert's, less its entropy, in nats, by place [H].

    Of plans that lie within one episode up to this place.
    """
    expert, done = (np.asarray(x)[:, : probs.shape[1]] for x in (visited.probs, visited.done))
    lost = np.sum(rel_entr(expert, np.maximum(probs, 1e-4)), axis=-1)
    same = np.cumsum(done, axis=1) - done == 0
    return np.sum(lost * same, axis=(0, 2)) / np.sum(same, axis=(0, 2))


def row(name: str, values: list[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {name} | {' | '.join(values)} |"


def main() -> None:
    """Print both tables."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("expert")
    flags.add_argument("planners", nargs="*")
    flags.add_argument("--every", type=int, nargs="+", default=[1, 2, 4, 8])
    flags.add_argument("--steps", type=int, default=2000)
    flags.add_argument("--num_envs", type=int, default=64)
    flags.add_argument("--worlds", type=int, default=16)
    flags.add_argument("--seed", type=int, default=0)
    given = flags.parse_args()
    expert = load_expert(given.expert)
    game = load_game(expert.env_name)
    env = BatchEnv(game, pooled(LogWrapper(game.env), given.num_envs))
    key = jax.random.key(given.seed)

    print(row("a plan every", ["return", "episodes"]), row("---", ["---", "---"]), sep="\n")
    for every in given.every:
        play = jax.jit(partial(play_committed, env=env, every=every, num_steps=given.steps // every * every))
        done, returns = map(np.asarray, play(key, expert=expert))
        mean, low, high = estimate([returns[done]])
        shown = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
        print(row(f"{every} steps", [shown, f"{done.sum():,}"]), flush=True)

    horizon = max(given.every)
    states = jax.jit(partial(visit, env=env, horizon=horizon, num_steps=given.steps // 10))(
        key, expert=expert
    )
    print("", row("gap in nats at place", [str(k) for k in range(horizon)]), sep="\n")
    print(row("---", ["---"] * horizon))
    look = jax.jit(partial(foreseen, env=env, expert=expert, worlds=given.worlds))
    best = jax.lax.map(lambda x: look(key, state=x.state, action=x.action), states)
    print(row("the game known", [f"{gap:.3f}" for gap in gaps(states, np.asarray(best))]), flush=True)
    for name in given.planners:
        planner = load_planner(name)
        tell = jax.jit(partial(predicted, planner.planner.denoiser, planner.params))
        probs = np.asarray(jax.lax.map(lambda x: tell(x.state.obs, x.action), states))  # noqa: B023
        print(row(name, [f"{gap:.3f}" for gap in gaps(states, probs)]), flush=True)


if __name__ == "__main__":
    main()
