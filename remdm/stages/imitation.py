"""Mode `imitation`: how well a planner predicts its expert, in the states that each of the two visits."""

import logging
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from remdm.base.errors import UserError
from remdm.config.imitation import ImitationConfig
from remdm.envs.batch import BatchEnv, make_paired_env
from remdm.envs.packing import Packed, pack, unpack
from remdm.experts.acting import ExpertPolicy
from remdm.loading.expert import load_expert
from remdm.loading.policy import load_planner, played_network
from remdm.models.denoiser import Denoiser
from remdm.planners.window import window_validity
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, rollout, start
from remdm.training.metrics import write_parquet
from remdm.training.run import Run

logger = logging.getLogger("remdm")

# Steps of an episode at which a range begins: in the first range, a recurrent expert has little memory.
RANGES = (0, 10, 50, 200)


class Visited(NamedTuple):
    """The states that a policy visited, and the expert's action probabilities there."""

    obs: Packed  # of [T, E, D]
    first: jax.Array  # [T, E], whether an episode begins with the state
    done: jax.Array  # [T, E], whether it ends with the action
    expert: jax.Array  # [T, E, V], log-probabilities


class Predicted(NamedTuple):
    """A planner's predictions compared with the expert; W = T - H + 1."""

    entropy: jax.Array  # [W, E, H], of the expert at the state where each action of a plan is due, in nats
    cross_entropy: jax.Array  # [W, E, H], of the planner's prediction with the expert's distribution there
    agrees: jax.Array  # [W, E], whether the most probable first actions are the same
    valid: jax.Array  # [W, E], whether all of a plan lies within one episode


def run_imitation(config: ImitationConfig, run: Run) -> None:
    """Write `imitation.parquet` and `run.json`.

    A row has the mean entropy and cross-entropy, in nats, and the share of states in which both choose the
    same action, over states that the `expert` or the `planner` visited: `all` of them, by `time` in the
    episode, or by `place` in the plan. The planner predicts a fully masked plan, as at its first denoising
    step, so sampler settings have no effect. Cross-entropy - entropy is the KL divergence of the planner's
    distribution from the expert's.

    Raises:
        UserError: a checkpoint does not contain the policy needed, or the steps are fewer than a plan's.
    """
    network = played_network(config)
    env = make_paired_env(config.env, config.eval_num_envs, network)
    planner = load_planner(config, env.game, network, whole_plans=False)
    denoiser = planner.planner.denoiser
    if config.imitation_steps < denoiser.plan_horizon:
        raise UserError(
            f"imitation_steps = {config.imitation_steps}: must be at least "
            f"plan_horizon = {denoiser.plan_horizon}"
        )
    expert = load_expert(*config.expert.named_path, config.env.env_name, env.game, temperature=1.0)
    run.open(config)

    @jax.jit
    def compare(key: jax.Array, actor: Policy, expert: ExpertPolicy, params: Any) -> tuple[Any, Any]:
        visited = visit(key, env, actor, expert, config.imitation_steps)
        return predict(denoiser, params, visited, env), time_in_episode(visited.first)

    rows: list[dict[str, Any]] = []
    for states, actor in (("expert", expert), ("planner", planner)):
        predicted, time = jax.device_get(compare(run.key(config.seed), actor, expert, planner.params))
        whole, *parts = summarise(predicted, time)
        rows += [{"states": states} | row for row in (whole, *parts)]
        logger.info(
            f"imitation: states of the {states}: cross-entropy {whole['cross_entropy']:.3f} nats, the "
            f"expert's entropy {whole['entropy']:.3f}, agreement {whole['agreement']:.3f}"
        )
    write_parquet(pl.DataFrame(rows, infer_schema_length=None), run.folder / "imitation.parquet")
    run.finish(config)


def visit(key: jax.Array, env: BatchEnv, actor: Policy, expert: ExpertPolicy, num_steps: int) -> Visited:
    """Let a policy play from fresh worlds, and evaluate the expert in every state."""

    def act(key: jax.Array, state: PlayState) -> tuple[jax.Array, Any, tuple[jax.Array, jax.Array]]:
        planner_memory, hidden = state.memory
        logits, hidden = expert.logits(state.obs, state.done, hidden)
        action, planner_memory = actor.act(key, state.obs, state.prev_action, state.done, planner_memory)
        return action, (planner_memory, hidden), (jax.nn.log_softmax(logits), state.done)

    start_key, play_key = jax.random.split(key)
    state = start(start_key, env, (actor.init(env.num_envs), expert.init(env.num_envs)))
    _, (obs, done, (log_probs, first)) = rollout(
        play_key, env, act, state, num_steps,
        keep=lambda played: (pack(played.obs, env.game), played.step.done, played.extras),
    )  # fmt: skip
    return Visited(obs, first, done, log_probs)


def predict(denoiser: Denoiser, params: Any, visited: Visited, env: BatchEnv) -> Predicted:
    """Compare the planner's predictions in every state with the expert's distributions from there on."""
    horizon, num_envs = denoiser.plan_horizon, env.num_envs
    masks = jnp.full((num_envs, horizon), denoiser.num_tokens, jnp.int32)

    def at(t: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        obs = unpack(jax.tree.map(lambda x: x[t], visited.obs), env.game)
        predicted = jax.nn.log_softmax(denoiser.apply(params, obs, masks, jnp.ones(num_envs)))  # [E, H, V]
        due = jax.lax.dynamic_slice_in_dim(visited.expert, t, horizon).swapaxes(0, 1)  # [E, H, V]
        probs = jnp.exp(due)
        agrees = jnp.argmax(predicted[:, 0], axis=-1) == jnp.argmax(due[:, 0], axis=-1)
        return -jnp.sum(probs * due, axis=-1), -jnp.sum(probs * predicted, axis=-1), agrees

    valid = window_validity(visited.done, horizon)
    entropy, cross_entropy, agrees = jax.lax.map(at, jnp.arange(len(valid)))
    return Predicted(entropy, cross_entropy, agrees, valid)


def time_in_episode(first: jax.Array) -> jax.Array:
    """Steps since the episode began, [T, E], given whether one begins [T, E]."""

    def count(time: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        time = jnp.where(first, 0, time + 1)
        return time, time

    return jax.lax.scan(count, jnp.zeros(first.shape[1], jnp.int32), first)[1]


def summarise(predicted: Predicted, time: np.ndarray) -> list[dict[str, Any]]:
    """Rows over all states, by time in the episode [T, E] and by place in the plan."""
    entropy, cross_entropy, agrees, valid = map(np.asarray, predicted)
    time = time[: len(agrees)]

    def row(by: str, start: int, place: int, where: np.ndarray) -> dict[str, Any]:
        def mean(values: np.ndarray) -> float | None:
            return float(values[where].mean()) if where.any() else None

        return {
            "by": by,
            "start": start,
            "states_counted": int(where.sum()),
            "entropy": mean(entropy[..., place]),
            "cross_entropy": mean(cross_entropy[..., place]),
            "agreement": mean(agrees) if place == 0 else None,
        }

    ends = (*RANGES[1:], np.inf)
    return [
        row("all", 0, 0, np.ones(time.shape, bool)),
        *(row("time", a, 0, (time >= a) & (time < b)) for a, b in zip(RANGES, ends, strict=True)),
        *(row("place", k, k, valid) for k in range(entropy.shape[-1])),
    ]
