"""Mode `smoke`: the whole DAgger path at its smallest, with an expert that plays at random."""

import logging

import jax
import polars as pl

from remdm.base.errors import UserError
from remdm.config.online import SmokeConfig
from remdm.envs.batch import make_batch_env
from remdm.planners.online import make_online
from remdm.play.policy import random_policy
from remdm.stages.training import run_training
from remdm.training.run import Run

# May be missing: no episode ended, the learner did not act, or no validation was due.
MAY_BE_ABSENT = ("env/", "val/", "dagger/agreement")
NEVER_ABSENT = ("diffusion/loss", "diffusion/grad_norm", "dagger/reward_mean", "val/score")

logger = logging.getLogger("remdm")


def run_smoke(config: SmokeConfig, run: Run) -> None:
    """Train for a few updates, validate, save, and summarise the metrics.

    Raises:
        UserError: a metric is not finite.
    """
    env = make_batch_env(config.env, config.num_envs, config.denoiser)
    val_env = make_batch_env(config.env, config.validation.val_num_envs, config.denoiser)
    expert = random_policy(env.game.num_actions)
    algorithm = make_online(config.on_device(jax.default_backend()), env, val_env, expert)
    run_training(algorithm, config, env.game, "planner", config.denoiser, run)
    # Of several processes, only the first has written them.
    for path in sorted(run.folder.rglob("metrics.parquet")):
        _summarise(pl.read_parquet(path))


def _summarise(metrics: pl.DataFrame) -> None:
    """Print first and last value of every metric; raise an error for the first that is not finite."""
    for name in metrics.drop("update").columns:
        values = metrics.select("update", name)
        if name.startswith(MAY_BE_ABSENT):
            values = values.drop_nulls(name)
        # The loop omits NaN from its rows.
        values = values.with_columns(pl.col(name).cast(pl.Float64).fill_null(float("nan")))
        bad = values.filter(~pl.col(name).is_finite())
        if bad.height:
            update, value = bad["update"][0], bad[name][0]
            raise UserError(f"smoke: {name} = {value} at update {update}: every metric should be finite")
        if values.height and name.startswith(("diffusion/", "dagger/", "val/score")):
            logger.info("  %-28s %10.4f -> %10.4f", name, values[name][0], values[name][-1])
    for name in NEVER_ABSENT:
        if name not in metrics.columns or metrics[name][-1] is None:
            raise UserError(f"smoke: {name} is missing at the end: every metric should be finite")
    logger.info("smoke: passed, %d updates, %d metrics, all finite", metrics.height, metrics.width)
