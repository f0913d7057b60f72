"""Mode `sweep`: compare sampler settings of a planner."""

import logging
import time
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from remdm.base.errors import UserError
from remdm.config.sweep import Setting, SweepConfig
from remdm.diffusion.schedule import SCHEDULES
from remdm.envs.batch import BatchEnv, Step, make_paired_env
from remdm.loading.expert import load_expert
from remdm.loading.policy import played_network, read_planner
from remdm.planners.control import Planner
from remdm.planners.denoising import make_sampler
from remdm.planners.quality import nelbo, plan_quality
from remdm.planners.window import at_start, plans_from, window_validity
from remdm.play.player import CHUNK_STEPS, compile_player
from remdm.play.policy import Policy
from remdm.training.metrics import write_parquet
from remdm.training.run import Run

logger = logging.getLogger("remdm")

EXPERT_CHUNKS = 8  # parts of the expert's play; each contributes the same number of windows
NELBO_DRAWS = 32
Measure = Callable[[Setting], dict[str, Any]]


class Games(NamedTuple):
    """A batch of games as compiled functions, to be played step by step."""

    num_envs: int
    reset: Callable[[jax.Array], tuple[jax.Array, Any]]
    step: Callable[[jax.Array, Any, jax.Array], tuple[jax.Array, Any, Step]]


def run_sweep(config: SweepConfig, run: Run) -> None:
    """Write `sweep.parquet`, a row for each setting, and `run.json`, which has the bound.

    `score` is the mean reward of an environment, and `score_difference` its difference from the score of the
    sampler's own keys in the same worlds; each has its standard error.
    Settings that differ only in eta and temperature share compiled programs.

    Raises:
        UserError: a checkpoint does not contain the policy needed.
    """
    asked = played_network(config)
    env = make_paired_env(config.env, config.eval_num_envs, asked)
    network, denoiser, params = read_planner(config, env.game, asked)
    expert = load_expert(*config.expert.named_path, config.env.env_name, env.game, temperature=1.0)
    run.open(config)
    window_key, bound_key, plan_key, play_key = jax.random.split(run.key(config.seed), 4)
    obs, plan = expert_windows(window_key, env, expert, network.plan_horizon, config.sweep_windows)
    schedule = SCHEDULES[network.diffusion_schedule]
    bound = float(nelbo(bound_key, denoiser, params, schedule, obs, plan, NELBO_DRAWS))
    logger.info(f"sweep: NELBO {bound:.3f} nats an action, log V = {np.log(denoiser.num_tokens):.3f}")

    games = Games(env.num_envs, jax.jit(env.reset), jax.jit(env.step))
    rows: list[dict[str, Any]] = []
    rewards: dict[Setting, np.ndarray] = {}
    for (strategy, steps), settings in groupby(config.settings, lambda setting: setting[:2]):
        sampler = make_sampler(config.sampler, network.diffusion_schedule, steps)._replace(strategy=strategy)
        planner = Planner(denoiser, sampler)
        draw = plan_measure(plan_key, planner, params, obs, plan, config.sweep_plans)
        play = play_measure(play_key, games, planner, params, config)
        for setting in settings:
            row = setting._asdict() | draw(setting)
            if config.is_played(setting):
                rewards[setting] = play(setting)
            if config.sweep_play_steps:
                row |= _mean("score", rewards.get(setting))
            logger.info(_line(row))
            rows.append(row)
    if config.sweep_play_steps:
        for setting, row in zip(config.settings, rows, strict=True):
            own, usual = rewards.get(setting), rewards.get(config.usual)
            row |= _mean("score_difference", None if own is None or usual is None else own - usual)
    table = pl.DataFrame(rows, infer_schema_length=None)
    write_parquet(table, run.folder / "sweep.parquet")
    run.finish(config, nelbo=bound)


def expert_windows(
    key: jax.Array, env: BatchEnv, expert: Policy, horizon: int, count: int
) -> tuple[jax.Array, jax.Array]:
    """Observations [N, D] and the expert's next H actions [N, H], in fresh worlds.

    Each part of the play contributes the same number of windows.

    Raises:
        UserError: too few windows are within one episode.
    """
    play_key, choice_key = jax.random.split(key)
    player = compile_player(play_key, env, expert, lambda data: (data.obs, data.action, data.step.done))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(choice_key)))
    chunks = -(-horizon // CHUNK_STEPS)  # that a window may span
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for part in range(EXPERT_CHUNKS):
        played = []
        for chunk in range(part * chunks, (part + 1) * chunks):
            player, data = player.chunk(chunk * CHUNK_STEPS)
            played.append(data)
        obs, action, done = (np.concatenate(arrays) for arrays in zip(*played, strict=True))
        valid = np.flatnonzero(window_validity(jnp.asarray(done), horizon))
        wanted = count * (part + 1) // EXPERT_CHUNKS - count * part // EXPERT_CHUNKS
        if len(valid) < wanted:
            raise UserError(
                f"sweep_windows = {count}: {len(valid) * EXPERT_CHUNKS} at most, because few of the "
                f"expert's windows are within one episode; lower it, or raise eval_num_envs"
            )
        indices = rng.choice(valid, wanted, replace=False)
        parts.append((at_start(obs, indices), plans_from(action, indices, horizon)))
    obs, plan = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return jnp.asarray(obs), jnp.asarray(plan)


def plan_measure(
    key: jax.Array, planner: Planner, params: Any, obs: jax.Array, plan: jax.Array, num_plans: int
) -> Measure:
    """A function that draws plans with a setting's eta and temperature, and measures their quality and time.

    Args:
        obs: observations [N, D].
        plan: the expert's actions from there on [N, H].
    """

    @jax.jit
    def draw(params: Any, eta: jax.Array, temperature: jax.Array) -> Any:
        return plan_quality(key, planner.at(eta, temperature), params, obs, plan, num_plans)

    compiled = draw.lower(params, jnp.float32(0), jnp.float32(0)).compile()

    def measure(setting: Setting) -> dict[str, Any]:
        began = time.perf_counter()
        drawn = compiled(params, jnp.float32(setting.eta), jnp.float32(setting.temperature))
        quality = jax.device_get(drawn)
        seconds = time.perf_counter() - began
        return {
            "agreement": float(quality.agreement.mean()),
            "agreement_first": float(quality.agreement[0]),
            "agreement_by_place": quality.agreement.tolist(),
            "diversity": float(quality.diversity),
            "remasked": float(quality.remasked.mean()),
            "remasked_by_step": quality.remasked.tolist(),
            "milliseconds_per_plan": 1000 * seconds / (len(obs) * num_plans),
        }

    return measure


def play_measure(
    key: jax.Array, games: Games, planner: Planner, params: Any, config: SweepConfig
) -> Callable[[Setting], np.ndarray]:
    """A function that plays with a setting's eta and temperature, in the same worlds for every setting.

    It returns the reward that each environment collects in `sweep_play_steps` steps [E]. Acting and stepping
    the game are separate programs, so that the larger one, the game, is compiled once for all settings.
    """

    def policy(params: Any, eta: jax.Array, temperature: jax.Array) -> Policy:
        varied, every = planner.at(eta, temperature), config.replan_every
        return varied.policy(params, every, config.inpaint_history, whole_plans=False)

    @jax.jit
    def act(given: tuple, *seen: Any) -> tuple[jax.Array, Any]:
        return policy(*given).act(*seen)

    start_key, steps_key = jax.random.split(key)
    keys = jax.random.split(steps_key, (config.sweep_play_steps, 2))

    def measure(setting: Setting) -> np.ndarray:
        given = params, jnp.float32(setting.eta), jnp.float32(setting.temperature)
        obs, state = games.reset(start_key)
        action, done = jnp.zeros(games.num_envs, jnp.int32), jnp.ones(games.num_envs, bool)
        memory, reward = policy(*given).init(games.num_envs), jnp.zeros(games.num_envs)
        for act_key, env_key in keys:
            action, memory = act(given, act_key, obs, action, done, memory)
            obs, state, step = games.step(env_key, state, action)
            done, reward = step.done, reward + step.reward
        return np.asarray(reward)

    return measure


def _mean(name: str, rewards: np.ndarray | None) -> dict[str, float | None]:
    """The mean over environments [E] and its standard error; null where there are no rewards."""
    if rewards is None:
        return {name: None, f"{name}_error": None}
    return {name: float(rewards.mean()), f"{name}_error": float(rewards.std() / np.sqrt(len(rewards)))}


def _line(row: dict[str, Any]) -> str:
    """A row as text for the terminal."""
    score = "" if row.get("score") is None else f"  score {row['score']:.2f} +- {row['score_error']:.2f}"
    return (
        f"{row['strategy']:<12} {row['steps']:3} steps  eta {row['eta']:.2f}  T {row['temperature']:.2f}  "
        f"agreement {row['agreement']:.3f} ({row['agreement_first']:.3f} first)  "
        f"diversity {row['diversity']:.3f}  remasked {row['remasked']:.3f}  "
        f"{row['milliseconds_per_plan']:.2f} ms{score}"
    )
