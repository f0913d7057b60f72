"""Keys of the environment."""

from typing import Literal

from pydantic import Field

from remdm.config.base import Positive, Section

EnvName = Literal["Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"]


class EnvConfig(Section):
    """Environment."""

    env_name: EnvName = Field(description="the game: Classic (22 achievements) or full Craftax")
    use_optimistic_resets: bool = Field(
        description="hand out few fresh worlds a step, shared when more episodes end (inexact)"
    )
    optimistic_reset_ratio: Positive = Field(
        description="environments per fresh world and step with optimistic resets"
    )
