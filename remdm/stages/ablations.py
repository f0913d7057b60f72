"""Mode `ablations`: fine-tune a planner by reward, with one arm of the suite."""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from remdm.ablations.arm import load_arm
from remdm.ablations.finetuning import make_finetuning
from remdm.ablations.problem import make_problem
from remdm.base.files import whole_file
from remdm.config.ablations import AblationsConfig
from remdm.envs.batch import make_batch_env
from remdm.loading.planner import load_denoiser, read_network
from remdm.stages.training import run_training
from remdm.training.algorithm import Metrics
from remdm.training.loop import Trained
from remdm.training.metrics import known, write_parquet
from remdm.training.run import Run

logger = logging.getLogger("remdm")


def run_ablations(config: AblationsConfig, run: Run) -> None:
    """Train one arm; also write `pretrained.parquet` and `evaluation.npz`.

    Raises:
        UserError: `checkpoint_path` contains no planner for this game, or the rollouts do not fit its plans.
    """
    asked = read_network("checkpoint_path", config.checkpoint_path, config.env.env_name)
    env = make_batch_env(config.env, config.num_envs, asked)
    val_env = make_batch_env(config.env, config.eval_num_envs, asked)
    network, _, pretrained = load_denoiser("checkpoint_path", config.checkpoint_path, asked, env.game)
    config.check_fits(network.plan_horizon)
    problem = make_problem(config, network, env)
    algorithm = make_finetuning(problem, val_env, load_arm(config.arm), pretrained)

    def leave(result: Trained) -> None:
        before, after = (result.validate(params) for params in (pretrained, result.params))
        numbers = known({name: x for name, x in before.items() if x.ndim == 0})
        write_parquet(pl.DataFrame([numbers]), result.folder / "pretrained.parquet")
        _write_arrays(before, after, result.folder / "evaluation.npz")
        _warn_of_empty_batches(config.arm, result.folder)

    logger.info("arm %s of %s", config.arm, config.checkpoint_path)
    run_training(algorithm, config, env.game, "planner", network, run, leave=leave)


def _write_arrays(before: Metrics, after: Metrics, path: Path) -> None:
    arrays = {
        f"{name.partition('/')[2]}_{when}": np.asarray(value)
        for when, metrics in (("before", before), ("after", after))
        for name, value in metrics.items()
        if value.ndim
    }
    with whole_file(path) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _warn_of_empty_batches(arm: str, folder: Path) -> None:
    empty = pl.read_parquet(folder / "metrics.parquet")["train/empty_batches"]
    if count := int(empty.sum()):
        logger.warning("%s: of %d batches, %d held no window that counts", arm, len(empty), count)
