"""Mode `ppo`: train the expert."""

from remdm.config.ppo import PPOConfig
from remdm.envs.batch import make_batch_env
from remdm.experts.ppo import make_ppo
from remdm.stages.training import resumed, run_training
from remdm.training.run import Run


def run_ppo(config: PPOConfig, run: Run) -> None:
    """Train an expert by PPO."""
    env = make_batch_env(config.env, config.ppo_num_envs)
    algorithm = make_ppo(config, env)
    run_training(algorithm, config, env.game, "expert", config.network, run, *resumed(config, config.resume))
