"""Mode `inference`: evaluate a policy on all the episodes it completes."""

import logging
import time

import numpy as np

from remdm.config.base import UserError
from remdm.config.inference import InferenceConfig
from remdm.envs.batch import make_batch_env
from remdm.envs.player import compile_player
from remdm.evaluation.episodes import Episodes, play_episodes
from remdm.evaluation.statistics import summarise
from remdm.stages.policy import load_policy
from remdm.training.metrics import Row, write_parquet
from remdm.training.progress import ProgressReport
from remdm.training.run import Run, write_json

logger = logging.getLogger("remdm")


def run_inference(config: InferenceConfig, run: Run) -> None:
    """Write `episodes.parquet`, `summary.json` and `run.json`.

    Raises:
        UserError: no episode was completed; the message says which key to raise.
    """
    env = make_batch_env(config, config.eval_num_envs)
    policy = load_policy(config, env.game)
    run.open(config)
    compiling = time.perf_counter()
    player = compile_player(run.key(config.seed), env, policy, lambda transitions: transitions.step)
    compile_seconds = time.perf_counter() - compiling
    frames = config.eval_steps * config.eval_num_envs
    with ProgressReport("inference", frames, run.runtime.progress) as progress:
        episodes = play_episodes(
            player, config.eval_steps, lambda steps: progress.update(steps * config.eval_num_envs)
        )
        timing = progress.timing(compile_seconds)
    if not len(episodes.length):
        raise UserError(f"eval_steps = {config.eval_steps}: too few to complete a single episode")

    summary = {"policy": config.policy, "frames": frames} | summarise(episodes, env.game.achievements)
    _write_episodes(episodes, env.game.achievements, run)
    write_json(run.folder / "summary.json", summary)
    run.tracker.log([_as_row(summary)])
    run.finish(config, **timing)
    _report(summary, timing["frames_per_second"])


def _write_episodes(episodes: Episodes, achievements: tuple[str, ...], run: Run) -> None:
    import polars as pl

    columns = {"env": episodes.env, "return": episodes.episode_return, "length": episodes.length}
    columns |= {name: episodes.achievements[:, i] for i, name in enumerate(achievements)}
    table = pl.DataFrame({name: np.ascontiguousarray(column) for name, column in columns.items()})
    write_parquet(table, run.folder / "episodes.parquet")


def _as_row(summary: dict) -> Row:
    """The means of a summary, as a row of metrics."""
    achievements = {f"eval/achievement/{name}": x["mean"] for name, x in summary["achievements"].items()}
    row = {"update": 0, "frames": summary["frames"], "eval/episodes": summary["episodes"]}
    return row | {"eval/episode_return": summary["return"]["mean"]} | achievements


def _report(summary: dict, frames_per_second: float) -> None:
    result = summary["return"]
    logger.info(
        f"return {result['mean']:.2f}  (95 % {result['low']:.2f} to {result['high']:.2f})  "
        f"{summary['episodes']} episodes  {frames_per_second:,.0f} frames/s"
    )
    for name, rate in sorted(summary["achievements"].items(), key=lambda item: -item[1]["mean"]):
        if rate["mean"]:
            logger.info("  %-24s %5.1f %%", name, 100 * rate["mean"])
