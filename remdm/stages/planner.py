"""What the modes `offline` and `online` have in common: train a planner on an expert."""

from collections.abc import Callable

from remdm.config.denoiser import DenoiserConfig
from remdm.config.planner import PlannerTrainingConfig
from remdm.envs.batch import BatchEnv, make_batch_env
from remdm.envs.policy import Policy
from remdm.stages.checkpoint import describe, section
from remdm.stages.expert import load_expert
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm
from remdm.training.loop import train
from remdm.training.run import Run


def run_planner_training(
    config: PlannerTrainingConfig,
    expert_temperature: float,
    make_algorithm: Callable[[BatchEnv, BatchEnv, Policy], Algorithm],
    run: Run,
) -> None:
    """Train, then leave `checkpoint/`, `checkpoint_best/`, `metrics.parquet` and `run.json`."""
    env = make_batch_env(config, config.num_envs)
    val_env = make_batch_env(config, config.val_num_envs)
    expert = load_expert(
        "ppo_checkpoint_path", config.ppo_checkpoint_path, config.env_name, env.game, expert_temperature
    )
    algorithm = make_algorithm(env, val_env, expert)
    trained = train(algorithm, config.seed, run)
    network = section(config, DenoiserConfig)
    for name, params, update in (
        ("checkpoint", trained.params, config.num_updates),
        ("checkpoint_best", trained.best_params, trained.best_update),
    ):
        metadata = describe("planner", config.env_name, network, update, config.frames_per_update)
        checkpoint.save(run.folder / name, params, metadata)
    run.finish(config, **trained.timing)
