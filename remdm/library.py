"""Training and playing in Python: the functions that `from remdm import ...` provides."""

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from remdm.analysis.episode import draw_episode
from remdm.analysis.film import Film
from remdm.analysis.results import Result
from remdm.base.checkpoint_folder import is_public, read_metadata
from remdm.base.errors import Interrupted, UserError
from remdm.commands.configuration import Call, configured
from remdm.commands.other_names import our_preset
from remdm.commands.stage import run_call
from remdm.config.base import LARGEST_SEED
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.policy import PolicyConfig
from remdm.config.references import is_reference
from remdm.config.runtime import RuntimeConfig
from remdm.config.stages import STAGES
from remdm.envs.batch import BatchEnv, pooled
from remdm.envs.camera import load_camera
from remdm.envs.craftax import Game, load_game
from remdm.envs.past import with_past
from remdm.envs.wrappers import LogWrapper
from remdm.evaluation.film import compile_film, names, stage_env
from remdm.experts.acting import ExpertPolicy
from remdm.loading.policy import load_policy, played_network
from remdm.loading.public import public_network
from remdm.planners.control import PlannerPolicy
from remdm.planners.recording import act_recorded
from remdm.stages.session import NUMERICS
from remdm.training.fetching import fetch

TRAINING = tuple(mode for mode, stage in STAGES.items() if stage.trains)
PLANNING_KEYS = PolicyConfig.planning_keys() | {"wandb_download_dir"}


@struct.dataclass
class LoadedPlanner(PlannerPolicy):
    """A planner with its game; it plays by `init` and `act`, as every policy does."""

    env_name: str = struct.field(pytree_node=False)
    network: DenoiserConfig | None = struct.field(pytree_node=False, default=None)  # None: a public planner

    @property
    def game(self) -> Game:
        """The game, with the observations that the planner needs."""
        return with_past(load_game(self.env_name), self.network)

    def plan(self, obs: Any, seed: int = 0) -> np.ndarray:
        """Plan from observations, without a history: [D] -> [H], or [E, D] -> [E, H].

        Raises:
            UserError: the observations are not those of the planner's game, or the seed is out of range.
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
        preset: a preset of `configs/`, whose sampler settings replace the defaults.
        keys: settings of the sampler, and `replan_every`, `inpaint_history`, `diffusion_steps_eval`; and
            `wandb_download_dir`.

    Raises:
        UserError: there is no such planner, a key is unknown or out of range, or JAX is set to 64 bits.
    """
    given = Layer("load_planner", keys).checked(PLANNING_KEYS)
    return LoadedPlanner(**_loaded("planner", path, base_layers(preset and our_preset(preset)), given))


@struct.dataclass
class LoadedExpert(ExpertPolicy):
    """An expert with its game; it plays by `init` and `act`, as every policy does."""

    env_name: str = struct.field(pytree_node=False)

    @property
    def game(self) -> Game:
        """The game."""
        return load_game(self.env_name)


def load_expert(path: str | Path, temperature: float = 1.0) -> LoadedExpert:
    """The expert in a checkpoint; `path` as of `load_planner`.

    Args:
        temperature: temperature of its actions; 0 takes the most probable.

    Raises:
        UserError: there is no such expert, the temperature is out of range, or JAX is set to 64 bits.
    """
    given = Layer("load_expert", {"expert_temperature": temperature})
    return LoadedExpert(**_loaded("expert", path, base_layers(None), given))


def _loaded(kind: str, path: str | Path, layers: list[Layer], given: Layer) -> dict[str, Any]:
    """The fields of a loaded policy, fetched if necessary; `given` overrides the layers."""
    _refuse_64_bits()
    layers.append(given)
    path = str(path)
    if is_reference(path):
        folder = build(RuntimeConfig, layers).wandb_download_dir
        path = str(fetch(path, Path(folder or "artifacts")))
    own = {"policy": kind, "checkpoint_path": path, "seed": 0}
    if is_public(Path(path)):
        layers[1:1] = public_network(Path(path)).layers(path)
    else:
        own["env_name"] = read_metadata(Path(path)).get("env_name")
    config = build(PolicyConfig, [*layers, Layer(path, own)])
    network = played_network(config)
    policy = load_policy(config, with_past(load_game(config.env.env_name), network), network)
    fields = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    known = {"env_name": config.env.env_name} | ({"network": network} if kind == "planner" else {})
    return fields | known


def _refuse_64_bits() -> None:
    """Refuse to work where JAX makes arrays of 64 bits."""
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise UserError("jax_enable_x64 = True: planners are made of 32 bits; set it to False")


def make_env(game: str | LoadedPlanner | LoadedExpert, num_envs: int = 1) -> BatchEnv:
    """A batch of environments: `reset(key)` and `step(key, state, action)`, which replaces finished worlds.

    Args:
        game: its name, or the policy that will play it: a planner may need more than the game shows.
    """
    played = load_game(game) if isinstance(game, str) else game.game
    return BatchEnv(played, pooled(LogWrapper(played.env), num_envs))


def play_episode(policy: LoadedPlanner | LoadedExpert, seed: int = 0, max_steps: int = 1000) -> Film:
    """Record one episode of a policy, in a world that depends only on the seed.

    Raises:
        UserError: the seed is out of range.
    """
    env = stage_env(policy.game, num_envs=1)
    camera = load_camera(policy.env_name)
    act = act_recorded if isinstance(policy, PlannerPolicy) else None
    film = compile_film(_key(seed), env, policy, camera, act)
    return Film(**film.roll(max_steps), **names(env.game, camera))


def save_gif(film: Film, path: str | Path, title: str = "") -> None:
    """Write an episode as a GIF of less than 3 MB, with the plan next to the game."""
    draw_episode(film, Path(path), title)


@dataclasses.dataclass(frozen=True)
class TrainedRun(Result):
    """The results of a finished training, by `train` or by the command; files are read on first access.

    `metrics` is a table with a row for each update, `run` the record in `run.json`, `config` all keys, `seed`
    the seed. With `num_repeats` above 1, metrics and checkpoints are those of `repeats`.

    Attributes:
        folder: the folder of the results.
        preset: the preset whose settings `planner` plays with.
    """

    preset: str | None = None

    @property
    def checkpoint(self) -> Path:
        """The folder of the final checkpoint, for keys such as `checkpoint_path`."""
        return self.folder / "checkpoint"

    @property
    def best_checkpoint(self) -> Path:
        """The folder of a planner's checkpoint with the best validation."""
        return self.folder / "checkpoint_best"

    @property
    def repeats(self) -> "list[TrainedRun]":
        """The repetitions that were trained together, each with its own files."""
        folders = sorted(self.folder.glob("r[0-9]*"), key=lambda folder: int(folder.name[1:]))
        return [dataclasses.replace(self, folder=folder) for folder in folders] or [self]

    @cached_property
    def planner(self) -> LoadedPlanner:
        """The final planner; `load_planner(run.checkpoint, ...)` loads it with other settings.

        Raises:
            UserError: the run trained an expert, or left no checkpoint.
        """
        return load_planner(self.checkpoint, self.preset)

    @cached_property
    def expert(self) -> LoadedExpert:
        """The final expert, which samples its actions.

        Raises:
            UserError: the run trained a planner, or left no checkpoint.
        """
        return load_expert(self.checkpoint)


def train(
    mode: str,
    config: str | None = None,
    output: str | Path | None = None,
    callback: Callable[[Mapping[str, float]], None] | None = None,
    **keys: Any,
) -> TrainedRun:
    """Train as `remdm MODE` does: the same stage, by the same code, with the same files.

    Args:
        mode: `ppo`, `offline`, `online`, `smoke`, or `ablations`, which fine-tunes with one `arm`.
        config: a preset of `configs/`, or a path to a YAML file.
        output: the folder of the results; None is the command's, `runs/<env>/<mode>/<preset>/s<seed>`.
        callback: called with the metrics of each update, by name. An exception from it ends the training.
        keys: keys of the mode, which override the preset's.

    Raises:
        UserError: an error that the user can fix, in one line, before work starts where possible.
        KeyboardInterrupt: the kernel was interrupted, or Ctrl-C was pressed. The state is saved first; the
            same call, with the seed that the message names, resumes.
        Interrupted: another signal or `time_limit_minutes` stopped the training; the state is saved.
    """
    started = time.perf_counter()
    if mode not in TRAINING:
        raise UserError(f"train: mode {mode!r} does not train; {', '.join(TRAINING)} do")
    _refuse_64_bits()
    written = {key: str(value) if isinstance(value, Path) else value for key, value in keys.items()}
    given = Layer("train", written).checked(STAGES[mode].keys)
    call = Call(mode, given, config and our_preset(config), None if output is None else Path(output))
    stage, runtime, notes = configured(call)

    def pass_on(rows: Sequence[Mapping[str, float]]) -> None:
        if callback is not None:
            for row in rows:
                callback(row)

    try:
        with _jax_settings_kept():
            run_call(call, stage, runtime, notes, started, [pass_on])
    except Interrupted as interrupted:
        if interrupted.status != 128 + signal.SIGINT:
            raise
        message = f"training was interrupted and saved; the same call with seed={stage.seed} resumes"
        raise KeyboardInterrupt(message) from None
    return TrainedRun(call.folder(stage), call.preset)


@contextmanager
def _jax_settings_kept() -> Iterator[None]:
    """Restore the settings of JAX that a stage changes; its compiler flags stay."""
    before = {name: getattr(jax.config, name) for name in (*NUMERICS, "jax_disable_jit")}
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
