"""Mode `online`: train a planner by DAgger."""

from pathlib import Path

import jax

from remdm.config.online import OnlineConfig
from remdm.envs.batch import make_batch_env
from remdm.loading.expert import load_expert
from remdm.loading.planner import load_start
from remdm.planners.online import make_online
from remdm.stages.training import resumed, run_training
from remdm.training.run import Run
from remdm.training.state import Start


def run_online(config: OnlineConfig, run: Run) -> None:
    """Train a planner on the expert's labels in the states that the planner visits."""
    env = make_batch_env(config.env, config.num_envs, config.denoiser)
    val_env = make_batch_env(config.env, config.validation.val_num_envs, config.denoiser)
    env_name, path = config.env.env_name, config.offline_checkpoint_path
    temperature = 0.0 if config.dagger_expert_deterministic else 1.0
    expert = load_expert(*config.expert.named_path, env_name, env.game, temperature)
    start, wandb_run_id = resumed(config, config.resume)
    if path is not None:
        params = load_start("offline_checkpoint_path", path, config.denoiser, env_name, env.game)
        start = Start(Path(path), update=0, whole=False, params=params)
    algorithm = make_online(config.on_device(jax.default_backend()), env, val_env, expert)
    run_training(algorithm, config, env.game, "planner", config.denoiser, run, start, wandb_run_id)
