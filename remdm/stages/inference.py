"""Mode `inference`: evaluate a policy on its episodes."""

import logging
import math
import time
from typing import Any

import numpy as np
import polars as pl

from remdm.base.errors import UserError
from remdm.base.estimates import Estimate, estimate, rate
from remdm.base.files import write_json
from remdm.config.inference import InferenceConfig
from remdm.envs.batch import make_paired_env
from remdm.envs.craftax import Game
from remdm.evaluation.episodes import Episodes, play_episodes
from remdm.loading.checkpoint import trained_frames
from remdm.loading.policy import load_policy, played_network
from remdm.play.player import compile_player
from remdm.training.metrics import Row, write_parquet
from remdm.training.progress import ProgressReport
from remdm.training.run import Run

logger = logging.getLogger("remdm")


def run_inference(config: InferenceConfig, run: Run) -> None:
    """Write `episodes.parquet`, `summary.json` and `run.json`.

    Policies evaluated with the same seed and the same number of environments play in the same worlds:
    rows of the same `env` and `episode` are pairs. Unfinished episodes have rows too; with `fixed_steps`,
    the summary excludes them.

    Raises:
        UserError: no episode was completed; the message names the key to raise.
    """
    network = played_network(config)
    env = make_paired_env(config.env, config.eval_num_envs, network)
    policy = load_policy(config, env.game, network, whole_plans=False)
    run.open(config)
    compiling = time.perf_counter()
    player = compile_player(run.key(config.seed), env, policy, lambda transitions: transitions.step)
    compile_seconds = time.perf_counter() - compiling
    first_only = config.eval_protocol == "first_episode"
    most = config.eval_steps * config.eval_num_envs
    with ProgressReport("inference", most, run.runtime.progress) as progress:
        episodes = play_episodes(
            player,
            config.eval_steps,
            lambda steps: progress.update(steps * config.eval_num_envs),
            first_only=first_only,
        )
        timing, frames = progress.timing(compile_seconds), progress.done
    if not (first_only or episodes.finished.any()):
        raise UserError(f"eval_steps = {config.eval_steps}: too few to complete a single episode; raise it")

    counted = episodes if first_only else episodes.where(episodes.finished)
    summary = {
        "policy": config.policy,
        "protocol": config.eval_protocol,
        "frames": frames,
        "frames_per_second": timing["frames_per_second"],
        "trained_frames": trained_frames(config.inputs().get("checkpoint_path")),
        "unfinished": int((~episodes.finished & (episodes.number == 0)).sum()),
    } | summarise(counted, env.game.achievements)
    _write_episodes(episodes, env.game, config.seed, run)
    write_json(run.folder / "summary.json", summary)
    run.log([_as_row(summary)])
    run.finish(config, **timing)
    _report(summary, config)


def summarise(episodes: Episodes, achievements: tuple[str, ...]) -> dict[str, Any]:
    """Means and 95 % intervals over episodes of returns, lengths and every achievement's rate.

    With a single episode, the bounds of a mean are None. Each achievement also has `count`, the number of
    episodes that unlock it.
    """

    def interval(found: Estimate) -> dict[str, float | None]:
        low, high = (None if math.isnan(bound) else bound for bound in found[1:])
        return {"mean": found.value, "low": low, "high": high}

    returns, unlocked = episodes.episode_return, episodes.achievements
    return {
        "episodes": len(returns),
        "return": interval(estimate([returns])) | {"std": float(np.std(returns))},
        "length": interval(estimate([episodes.length])),
        "achievements_per_episode": interval(estimate([unlocked.sum(axis=1)])),
        "achievements": {
            name: interval(rate([each])) | {"count": int(np.sum(each))}
            for name, each in zip(achievements, unlocked.T, strict=True)
        },
    }


def _write_episodes(episodes: Episodes, game: Game, seed: int, run: Run) -> None:
    """Write one row for each episode."""
    columns = {
        "env": episodes.env,
        "episode": episodes.number,
        "seed": np.full(len(episodes.env), seed),
        "return": episodes.episode_return,
        "length": episodes.length,
        "finished": episodes.finished,
        "died": episodes.died(game),
        "truncated": episodes.truncated(game),
    }
    columns |= {name: episodes.achievements[:, i] for i, name in enumerate(game.achievements)}
    table = pl.DataFrame({name: np.ascontiguousarray(column) for name, column in columns.items()})
    write_parquet(table, run.folder / "episodes.parquet")


def _as_row(summary: dict) -> Row:
    """The means of a summary, as a row of metrics."""
    achievements = {f"eval/achievement/{name}": x["mean"] for name, x in summary["achievements"].items()}
    row = {"update": 0, "frames": summary["frames"], "eval/episodes": summary["episodes"]}
    return row | {"eval/episode_return": summary["return"]["mean"]} | achievements


def _report(summary: dict, config: InferenceConfig) -> None:
    result = summary["return"]
    low, high = result["low"], result["high"]
    interval = "" if low is None else f"  (95 % {low:.2f} to {high:.2f})"
    logger.info(
        f"return {result['mean']:.2f}{interval}  "
        f"{summary['episodes']} episodes  {summary['frames_per_second']:,.0f} frames/s"
    )
    for name, found in sorted(summary["achievements"].items(), key=lambda item: -item[1]["mean"]):
        if found["count"]:
            logger.info("  %-24s %6d episodes  %5.1f %%", name, found["count"], 100 * found["mean"])
    if unfinished := summary["unfinished"]:
        logger.info(
            f"eval_steps = {config.eval_steps}: {unfinished} of {config.eval_num_envs} first episodes did "
            "not end; as first episodes they count with what they earned so far; raise it to let them end"
        )
