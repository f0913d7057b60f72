"""Load experts from checkpoints, ours and public ones."""

from pathlib import Path

from remdm.base.checkpoint_folder import is_public, open_checkpoint
from remdm.config.ppo import ExpertConfig
from remdm.envs.craftax import Game
from remdm.experts.acting import expert_policy
from remdm.experts.baselines import Baseline, recognise
from remdm.experts.network import make_network, param_shapes
from remdm.loading.checkpoint import open_public, rebuild
from remdm.play.policy import Policy
from remdm.training import checkpoint


def load_expert(key: str, path: str | None, env_name: str, game: Game, temperature: float) -> Policy:
    """The expert in a checkpoint, which samples its actions at a temperature.

    Raises:
        UserError: `path`, the value of `key`, is no checkpoint of an expert in this game.
    """
    if path is not None and is_public(Path(path)):
        baseline, params = open_public(key, Path(path), Baseline, game, recognise)
        network = baseline.network
    else:
        folder, metadata = open_checkpoint(key, path, "expert", env_name)
        network = rebuild(ExpertConfig, folder, metadata)
        params = checkpoint.restore(folder, "params", param_shapes(network, game.shown_dim, game.num_actions))
    return expert_policy(make_network(network, game.num_actions), params, temperature, game.shown_dim)
