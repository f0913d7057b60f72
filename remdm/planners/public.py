"""Planners of the public implementation: a flax `DenoisingTransformer`, and the record of its training run.

Its network is remdm's with other names of arrays, and embeds the time without the factor `time_scale`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remdm.base.errors import UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, build
from remdm.config.public import FIXED, UNSEEN, read_record, sampling_keys
from remdm.planners.denoising import param_shapes
from remdm.training.public import PublicNetwork, Shapes, describe_game, game_of, sizes_of

# Parts of arrays' names: remdm's and the public ones. Dense layers outside the blocks are numbered together:
# Dense_0 to Dense_N are the observation encoder's, N and a projection; the time's and the head's follow.
NAMES = {
    "obs_encoder/": "",
    "token_embedding": "Embed_0",
    "final_norm": "LayerNorm_1",
    "blocks_": "TransformerBlock_",
    "attention": "MultiHeadDotProductAttention_0",
    "ffn_in": "Dense_0",
    "ffn_out": "Dense_1",
}
AFTER_ENCODER = {"time_embedding/Dense_0": 1, "time_embedding/Dense_1": 2, "head": 3}


@dataclass(frozen=True)
class PublicPlanner(PublicNetwork):
    """A planner of the public implementation.

    Attributes:
        sampling: the keys of sampling in the record of its training run.
    """

    network: DenoiserConfig
    sampling: Layer
    kind = "planner"
    source = "the public implementation"

    def __str__(self) -> str:
        network, game = self.network, describe_game(self.obs_dim, self.num_actions)
        return f"a planner of d_model {network.d_model} and n_layers {network.n_layers} for {game}"

    def shapes(self) -> Any:
        """The shapes of the parameters of remdm's network of this kind."""
        return param_shapes(self.network, self.obs_dim, self.num_actions)

    def layers(self, origin: str) -> list[Layer]:
        """Also the keys of sampling."""
        return [*super().layers(origin), self.sampling]

    def public_name(self, name: str) -> str:
        """The name of one of remdm's arrays in the public implementation."""
        layers = self.network.obs_encoder_layers
        dense = {ours: f"Dense_{layers + index}" for ours, index in AFTER_ENCODER.items()}
        for ours, theirs in (dense | NAMES).items():
            name = name.replace(ours, theirs)
        return name


def recognise(folder: Path, shapes: Shapes) -> PublicPlanner:
    """The planner with parameters of such shapes, and with the record of its training run next to them.

    Raises:
        UserError: arrays or record are not those of a public planner, or contradict each other; the message
            names the first such array or entry.
    """
    block = "params/TransformerBlock_0"
    needed = {
        "params/Dense_0/kernel": 2,
        "params/Embed_0/embedding": 2,
        f"{block}/MultiHeadDotProductAttention_0/query/kernel": 3,
        f"{block}/Dense_0/kernel": 2,
    }
    encoder, embedding, query, inner = sizes_of(
        folder, shapes, needed, "planner of the public implementation"
    )
    obs_dim, num_actions = encoder[0], embedding[0] - 1
    parts = {name.split("/")[1] for name in shapes}
    seen = {
        "d_model": embedding[1],
        "n_heads": query[1],
        "n_layers": sum(part.startswith("TransformerBlock_") for part in parts),
        "d_ff": inner[1],
        "obs_encoder_layers": sum(part.startswith("Dense_") for part in parts) - 1 - len(AFTER_ENCODER),
        "obs_encoder_width": encoder[1],
    }
    record = read_record(folder)
    for key, value in (seen | {"env_name": game_of(obs_dim, num_actions)}).items():
        if record.values.get(key, value) != value:
            raise UserError(
                f"{record.origin}: {key.upper()} = {record.values[key]}: its arrays are of "
                f"{value or 'no game of ours'}"
            )
    unseen = {key: record.values[key] for key in UNSEEN}
    network = build(DenoiserConfig, [Layer(record.origin, unseen), Layer(str(folder), seen | FIXED)])
    planner = PublicPlanner(network, obs_dim, num_actions, sampling_keys(record))
    planner.check(folder, shapes)
    return planner
