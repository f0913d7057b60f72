"""The experts of Craftax_Baselines, recognised by the shapes of their arrays, since they have no metadata."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remdm.base.errors import UserError
from remdm.config.ppo import ExpertConfig
from remdm.experts.network import param_shapes
from remdm.training.public import PublicNetwork, Shapes, describe_game, is_planner, sizes_of


@dataclass(frozen=True)
class Baseline(PublicNetwork):
    """An expert of the public baselines, whose arrays have the same names as remdm's."""

    network: ExpertConfig
    kind = "expert"
    source = "Craftax_Baselines"

    def __str__(self) -> str:
        network, game = self.network, describe_game(self.obs_dim, self.num_actions)
        return f"a {network.ppo_model_type} of layer_size {network.layer_size} for {game}"

    def shapes(self) -> Any:
        """The shapes of the parameters of remdm's network of this kind."""
        return param_shapes(self.network, self.obs_dim, self.num_actions)


def recognise(folder: Path, shapes: Shapes) -> Baseline:
    """The expert with parameters of such shapes, by remdm's names.

    Raises:
        UserError: it is no expert of the public baselines; the message names the first array that differs.
    """
    if is_planner(shapes):
        raise UserError(f"checkpoint {folder}: is a planner, and no expert of Craftax_Baselines")
    needed = {f"params/Dense_{layer}/kernel": 2 for layer in (0, 3)}
    first, last = sizes_of(folder, shapes, needed, "ppo, ppo_rnn or ppo_rnd of Craftax_Baselines")
    model_type = "ppo_rnd" if "params/Dense_8/kernel" in shapes else "ppo"
    if any(name.startswith("params/ScannedRNN_0/") for name in shapes):
        model_type = "ppo_rnn"
    network = ExpertConfig.model_validate({"ppo_model_type": model_type, "layer_size": first[1]})
    baseline = Baseline(network, obs_dim=first[0], num_actions=last[1])
    baseline.check(folder, shapes)
    return baseline
