"""Mode `ppo`: train the expert."""

from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.loading.checkpoint import section
from remdm.stages.training import resumed, run_training
from remdm.training.run import Run


def run_ppo(config: PPOConfig, run: Run) -> None:
    """Train an expert by reinforcement."""
    env = make_batch_env(config, config.ppo_num_envs)
    network = section(config, ExpertConfig)
    run_training(make_ppo(config, env), config, env.game, "expert", network, run, *resumed(config))
