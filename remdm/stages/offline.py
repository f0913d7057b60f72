"""Mode `offline`: behaviour cloning on live expert rollouts."""

import jax

from remdm.config.offline import OfflineConfig
from remdm.envs.batch import make_batch_env
from remdm.loading.expert import load_expert
from remdm.planners.offline import make_offline
from remdm.stages.training import resumed, run_training
from remdm.training.run import Run


def run_offline(config: OfflineConfig, run: Run) -> None:
    """Train a planner on rollouts of the expert."""
    env = make_batch_env(config.env, config.num_envs, config.denoiser)
    val_env = make_batch_env(config.env, config.validation.val_num_envs, config.denoiser)
    temperature = config.collect_temperature
    expert = load_expert(*config.expert.named_path, config.env.env_name, env.game, temperature)
    algorithm = make_offline(config.on_device(jax.default_backend()), env, val_env, expert)
    start = resumed(config, config.resume)
    run_training(algorithm, config, env.game, "planner", config.denoiser, run, *start)
