"""ReMDM planners in Craftax.

from remdm import play_episode, save_gif, train

expert = train("ppo", config="demo", seed=1)
planner = train("offline", config="demo", ppo_checkpoint_path=expert.checkpoint, seed=1).planner
save_gif(play_episode(planner, seed=1), "episode.gif")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remdm.base.trajectory_file import load_trajectories
    from remdm.library import TrainedRun, load_expert, load_planner, make_env, play_episode, save_gif, train

__all__ = [
    "TrainedRun",
    "load_expert",
    "load_planner",
    "load_trajectories",
    "make_env",
    "play_episode",
    "save_gif",
    "train",
]


def __getattr__(name: str) -> Any:
    # Only when asked for: whoever imports one room needs neither the others nor JAX.
    if name in __all__:
        module = "base.trajectory_file" if name == "load_trajectories" else "library"
        return getattr(import_module(f"remdm.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
