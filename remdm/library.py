"""A trained planner in Python: what `from remdm import ...` offers."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from remdm.analysis.episode import draw_episode
from remdm.analysis.film import Film
from remdm.base.checkpoint_folder import is_public
from remdm.base.errors import UserError
from remdm.config.base import LARGEST_SEED
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.policy import PolicyConfig
from remdm.config.references import is_reference
from remdm.config.runtime import RuntimeConfig
from remdm.envs.batch import BatchEnv, pooled
from remdm.envs.camera import load_camera
from remdm.envs.craftax import Game, load_game
from remdm.envs.past import with_past
from remdm.envs.wrappers import LogWrapper
from remdm.evaluation.film import compile_film, names, stage_env
from remdm.loading.policy import load_planner as load_policy
from remdm.loading.policy import played_network
from remdm.loading.public import public_network
from remdm.planners.control import PlannerPolicy
from remdm.planners.recording import act_recorded
from remdm.training import checkpoint
from remdm.training.fetching import fetch

PLANNING_KEYS = PolicyConfig.planning_keys() | {"wandb_download_dir"}


@struct.dataclass
class LoadedPlanner(PlannerPolicy):
    """A planner that knows its game; it plays by `init` and `act`, as every policy does."""

    env_name: str = struct.field(pytree_node=False)
    network: DenoiserConfig | None = struct.field(pytree_node=False, default=None)  # of a planner of ours

    @property
    def game(self) -> Game:
        """The game, whose observations tell what the planner asks for."""
        return with_past(load_game(self.env_name), self.network)

    def plan(self, obs: Any, seed: int = 0) -> np.ndarray:
        """Plan from observations, without a history: [D] -> [H], or [E, D] -> [E, H].

        Raises:
            UserError: they are not of the planner's game, or there is no such seed.
        """
        obs = jnp.asarray(obs, jnp.float32)
        wanted = self.game.obs_dim
        if obs.ndim not in (1, 2) or obs.shape[-1] != wanted:
            raise UserError(
                f"obs: has shape {obs.shape}, but {self.env_name} needs [{wanted}] or [E, {wanted}]"
            )
        batch = jnp.atleast_2d(obs)
        plans = np.asarray(_plan(self, _key(seed), batch))
        return plans if obs.ndim == 2 else plans[0]


def _key(seed: int) -> jax.Array:
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed = {seed}: must be at least 0 and at most {LARGEST_SEED}")
    return jax.random.PRNGKey(seed)


@jax.jit
def _plan(loaded: LoadedPlanner, key: jax.Array, obs: jax.Array) -> jax.Array:
    return loaded.planner.plans(key, loaded.params, obs)


def load_planner(path: str | Path, preset: str | None = None, **keys: Any) -> LoadedPlanner:
    """The planner in a checkpoint.

    Args:
        path: its folder, or `hf:owner/repo[/path][@revision]` or `wandb:entity/project/name:version`, which
            are fetched.
        preset: of `configs/`, whose settings of the sampler count instead of the defaults.
        keys: settings of the sampler, and `replan_every`, `inpaint_history`, `diffusion_steps_eval`; and
            `wandb_download_dir`.

    Raises:
        UserError: no such planner, a key that is unknown or impossible, or JAX set to 64 bits.
    """
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise UserError("jax_enable_x64 = True: planners are made of 32 bits; set it to False")
    given = Layer("load_planner", keys).checked(PLANNING_KEYS)
    layers = [*base_layers(preset), given]
    path = str(path)
    if is_reference(path):
        folder = build(RuntimeConfig, layers).wandb_download_dir
        path = str(fetch(path, Path(folder or "artifacts")))
    own = {"policy": "planner", "checkpoint_path": path, "seed": 0}
    if is_public(Path(path)):
        layers[1:1] = public_network(Path(path)).told(path)
    else:
        own["env_name"] = checkpoint.read_metadata(Path(path)).get("env_name")
    config = build(PolicyConfig, [*layers, Layer(path, own)])
    network = played_network(config)
    policy = load_policy(config, with_past(load_game(config.env.env_name), network))
    fields = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    return LoadedPlanner(**fields, env_name=config.env.env_name, network=network)


def make_env(game: str | LoadedPlanner, num_envs: int = 1) -> BatchEnv:
    """A game many times at once: `reset(key)` and `step(key, state, action)`, with fresh worlds by itself.

    Args:
        game: its name, or the planner that is to play it and may ask for more than the game shows.
    """
    played = load_game(game) if isinstance(game, str) else game.game
    return BatchEnv(played, pooled(LogWrapper(played.env), num_envs))


def play_episode(planner: LoadedPlanner, seed: int = 0, max_steps: int = 1000) -> Film:
    """Let a planner play one episode, in a world that depends on the seed alone, and film it.

    Raises:
        UserError: there is no such seed.
    """
    env = stage_env(planner.game, num_envs=1)
    camera = load_camera(planner.env_name)
    film = compile_film(_key(seed), env, planner, camera, act_recorded)
    return Film(**film.roll(max_steps), **names(env.game, camera))


def save_gif(film: Film, path: str | Path, title: str = "") -> None:
    """Write an episode as a moving picture of less than 3 MB, with the plan beside the game."""
    draw_episode(film, Path(path), title)
