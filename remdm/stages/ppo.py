"""Mode `ppo`: train the expert."""

from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.stages.checkpoint import describe, section
from remdm.training import checkpoint
from remdm.training.loop import train
from remdm.training.run import Run


def run_ppo(config: PPOConfig, run: Run) -> None:
    """Train, then leave `checkpoint/`, `metrics.parquet` and `run.json`."""
    algorithm = make_ppo(config, make_batch_env(config, config.ppo_num_envs))
    trained = train(algorithm, config.seed, run)
    network = section(config, ExpertConfig)
    metadata = describe("expert", config.env_name, network, config.num_updates, config.frames_per_update)
    checkpoint.save(run.folder / "checkpoint", trained.params, metadata)
    run.finish(config, **trained.timing)
