"""The common part of all modes that train: the start and the results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from remdm.base.checkpoint_folder import is_public, read_metadata
from remdm.base.errors import UserError
from remdm.config.base import Section
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.config.training import ResumeConfig, TrainingConfig
from remdm.envs.craftax import Game
from remdm.loading.checkpoint import describe, refuse_public
from remdm.stages.budget import announce
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm
from remdm.training.loop import Trained, train
from remdm.training.run import Run
from remdm.training.state import Start


def run_training(
    algorithm: Algorithm,
    config: TrainingConfig,
    game: Game,
    kind: str,
    network: Section,
    run: Run,
    start: Start | None = None,
    wandb_run_id: str | None = None,
    leave: Callable[[Trained], None] = lambda result: None,
) -> None:
    """Train, then leave `metrics.parquet`, `run.json`, `checkpoint/` and, of planners, `checkpoint_best/`.

    Args:
        kind: kind of the policy, `expert` or `planner`.
        network: the keys from which the network of a checkpoint is rebuilt.
        start: the checkpoint to start from.
        wandb_run_id: the W&B run of that checkpoint.
        leave: writes additional results of each repetition.

    Raises:
        UserError: the training does not fit this machine's memory.
    """
    announce(config, algorithm, game, run.runtime)
    run.open(config, wandb_run_id)
    save_policy = isinstance(run.runtime, TrainingRuntimeConfig) and run.runtime.save_policy
    results, timing = train(algorithm, config.seed, run, config.num_repeats, start)
    parameters = sum(x.size for x in jax.tree.leaves(results[0].params))
    env_name = config.env.env_name
    for result in results if save_policy else []:
        checkpoints = [("checkpoint", result.params, config.num_updates, result.items())]
        if algorithm.validate is not None:
            checkpoints.append(("checkpoint_best", result.best_params, result.best_update, {}))
        for name, params, update, items in checkpoints:
            metadata = describe(kind, env_name, network, update, config.frames_per_update)
            metadata |= {"wandb_run_id": run.wandb_run_id, "devices": result.devices}
            if jax.process_index() > 0:
                continue
            checkpoint.save(result.folder / name, {"params": params, **items}, metadata)
            if run.tracker is None:
                continue
            repeat = f"-{result.folder.name}" if len(results) > 1 else ""
            role = {"planner": "policy", "expert": "expert"}[kind]
            artifact = f"{env_name}-{role}{name.removeprefix('checkpoint').replace('_', '-')}{repeat}"
            run.tracker.upload(artifact, result.folder / name, metadata)
    for result in results:
        leave(result)
    run.finish(config, parameters=parameters, **timing)


def resumed(config: TrainingConfig, resume: ResumeConfig) -> tuple[Start | None, str | None]:
    """The start at `resume_checkpoint_path` and the W&B run of that checkpoint; None if the key is null.

    The update is `resume_step` or, if that is null, the one in the checkpoint's metadata.

    Raises:
        UserError: it is no checkpoint of ours, the update is unknown, or the budget leaves nothing to do.
    """
    if resume.resume_checkpoint_path is None:
        return None, None
    folder = Path(resume.resume_checkpoint_path)
    metadata: dict[str, Any] = {}
    try:
        if not is_public(folder) or not folder.is_dir():
            metadata = read_metadata(folder)
        elif not checkpoint.has(folder, "params"):  # with `params`, it is one of ours without metadata
            refuse_public(folder, "checkpoint")
    except UserError as error:
        raise UserError(f"resume_checkpoint_path: {error}") from None
    step = metadata.get("update_step") if resume.resume_step is None else resume.resume_step
    if step is None:
        raise UserError(
            f"resume_step = null: {folder} has no metadata that names its number of updates; set resume_step"
        )
    try:
        resume.check_step(config, step)
    except ValueError as error:
        raise UserError(str(error)) from None
    return Start(folder, step, whole=checkpoint.has(folder, "training")), metadata.get("wandb_run_id")
