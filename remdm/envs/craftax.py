"""Craftax by name, and facts of its two symbolic games."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from remdm.envs.wrappers import AchievementsWrapper


class Past(NamedTuple):
    """What observations contain of the episode so far, in addition to the game's own."""

    observations: int = 0  # how many earlier ones
    actions: int = 0  # how many last ones
    progress: bool = False  # achievements and last reward


PRESENT = Past()


@dataclass(frozen=True)
class Game:
    """A single environment without auto-reset, and its facts.

    Attributes:
        time_limit: steps after which an episode ends in any case; None if there is no limit.
        victory: the achievement that ends an episode; None if none does.
        num_binary: leading entries of an observation that are 0 or 1, the view of the map.
        past: what observations contain in addition to the game's own. First come the entries of the present
            step, then those of each earlier step, then actions, as numbers.
    """

    env: Any
    params: Any
    num_actions: int
    obs_dim: int
    achievements: tuple[str, ...]
    time_limit: int | None = None
    victory: str | None = None
    num_binary: int = 0
    past: Past = PRESENT

    @property
    def step_dim(self) -> int:
        """Entries of an observation for one step."""
        return (self.obs_dim - self.past.actions) // (1 + self.past.observations)

    @property
    def shown_dim(self) -> int:
        """Leading entries of an observation, which are the game's own; an expert uses no others."""
        return self.step_dim - (len(self.achievements) + 1) * self.past.progress


def load_game(env_name: str) -> Game:
    """Load one of the two symbolic games.

    Craftax is imported here and not at the top, because that takes seconds and the DAG does not need it.
    """
    from craftax.craftax_env import make_craftax_env_from_name

    env = make_craftax_env_from_name(env_name, auto_reset=False)
    if "Classic" in env_name:
        from craftax.craftax_classic.constants import OBS_DIM, Achievement, BlockType

        victory = None
        per_tile = len(BlockType) + 4  # zombies, cows, skeletons, arrows
    else:
        from craftax.craftax.constants import OBS_DIM, Achievement, BlockType, ItemType

        victory = Achievement.DEFEAT_NECROMANCER.name.lower()
        per_tile = len(BlockType) + len(ItemType) + 5 * 8 + 1  # classes of mobs by their types, light
    params = env.default_params
    achievements = tuple(a.name.lower() for a in sorted(Achievement, key=lambda a: a.value))
    return Game(
        env=AchievementsWrapper(env, achievements),
        params=params,
        num_actions=env.num_actions,
        obs_dim=env.observation_space(params).shape[0],
        achievements=achievements,
        time_limit=params.max_timesteps,
        victory=victory,
        num_binary=OBS_DIM[0] * OBS_DIM[1] * per_tile,
    )
