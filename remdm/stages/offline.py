"""Mode `offline`: behaviour cloning on live expert rollouts."""

from remdm.config.offline import OfflineConfig
from remdm.planners.offline import make_offline
from remdm.stages.planner import run_planner_training
from remdm.training.run import Run


def run_offline(config: OfflineConfig, run: Run) -> None:
    """Train a planner on what the expert does."""
    run_planner_training(
        config,
        config.collect_temperature,
        lambda env, val_env, expert: make_offline(config, env, val_env, expert),
        run,
    )
