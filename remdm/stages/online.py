"""Mode `online`: DAgger."""

from remdm.config.online import OnlineConfig
from remdm.planners.online import make_online
from remdm.stages.planner import run_planner_training
from remdm.training.run import Run


def run_online(config: OnlineConfig, run: Run) -> None:
    """Train a planner on what the expert would do where the planner goes."""
    run_planner_training(
        config,
        0.0 if config.dagger_expert_deterministic else 1.0,
        lambda env, val_env, expert: make_online(config, env, val_env, expert),
        run,
    )
