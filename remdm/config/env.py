"""Keys of the environment."""

from typing import Literal

from pydantic import Field

from remdm.config.base import Positive, Section

EnvName = Literal["Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"]


class GameConfig(Section):
    """Game."""

    env_name: EnvName = Field(description="Classic (22 achievements) or full Craftax")


class EnvConfig(GameConfig):
    """Environment: how the worlds of finished episodes are replaced."""

    use_optimistic_resets: bool = Field(
        description="generate few fresh worlds per step, shared when more episodes end (inexact)"
    )
    optimistic_reset_ratio: Positive = Field(
        description="environments per fresh world and step with optimistic resets"
    )
