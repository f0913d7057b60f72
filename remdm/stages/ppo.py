"""Mode `ppo`: train the expert."""

from remdm.config.ppo import PPOConfig
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.stages.expert import describe_expert
from remdm.training import checkpoint
from remdm.training.loop import train
from remdm.training.run import Run


def run_ppo(config: PPOConfig, run: Run) -> None:
    """Train, then leave `checkpoint/`, `metrics.parquet` and `run.json`."""
    algorithm = make_ppo(config, make_batch_env(config, config.ppo_num_envs))
    trained = train(algorithm, config.seed, run)
    checkpoint.save(run.folder / "checkpoint", trained.params, describe_expert(config, algorithm))
    run.record(config, **trained.timing)
