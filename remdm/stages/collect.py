"""Mode `collect`: save expert trajectories for inspection and analysis."""

import logging
import shutil
import time
import zipfile
from pathlib import Path

import jax
import numpy as np

from remdm.config.base import UserError
from remdm.config.collect import CollectConfig
from remdm.config.files import whole_file
from remdm.envs.batch import BatchEnv, make_batch_env
from remdm.envs.player import CHUNK_STEPS, compile_player
from remdm.envs.policy import Policy
from remdm.envs.rollout import Transition, episode_metrics
from remdm.stages.expert import load_expert
from remdm.training.metrics import MetricsTable, to_rows
from remdm.training.progress import ProgressReport
from remdm.training.run import Run

logger = logging.getLogger("remdm")


def run_collect(config: CollectConfig, run: Run) -> None:
    """Write `trajectories.npz`, arrays [num_envs, num_iters, ...], `metrics.parquet` and `run.json`.

    `dones` follows the action: the episode ends with it. `obs` are those before the actions. Each
    chunk goes to disk as it is played, so memory does not grow with the number of steps.

    Raises:
        UserError: the checkpoint is no such expert's, or the disk is too small.
    """
    env = make_batch_env(config, config.collect_num_envs)
    path, temperature = config.ppo_checkpoint_path, config.collect_temperature
    expert = load_expert("ppo_checkpoint_path", path, config.env_name, env.game, temperature)
    run.open(config)
    target = _writable(config.offline_data_path, run.folder / "trajectories.npz")
    scratch = run.state / "arrays"
    arrays = _new_arrays(scratch, (env.num_envs, config.num_iters), env.game.obs_dim)
    metrics = MetricsTable(run.state / "metrics")
    metrics.rewind(0)

    timing = _play_into(arrays, metrics, config, run, env, expert)
    metrics.finish(run.folder / "metrics.parquet")
    _zip(scratch, target)
    run.finish(config, **timing)


def _writable(asked: str | None, default: Path) -> Path:
    """Where the trajectories go, checked before anything is played.

    Raises:
        UserError: it is a folder, or cannot be written.
    """
    path = Path(asked) if asked is not None else default
    if path.is_dir():
        raise UserError(f"offline_data_path = {path}: is a folder; name a file in it")
    try:
        with whole_file(path) as partial:
            partial.touch()
        path.unlink()
    except OSError as error:
        raise UserError(f"offline_data_path = {path}: cannot be written ({error.strerror})") from None
    return path


def _play_into(
    arrays: dict[str, np.memmap],
    metrics: MetricsTable,
    config: CollectConfig,
    run: Run,
    env: BatchEnv,
    expert: Policy,
) -> dict[str, float]:
    """Play all steps, each chunk to its place in the arrays; returns what it took."""
    compiling = time.perf_counter()
    player = compile_player(run.key(config.seed), env, expert, lambda transitions: transitions)
    compile_seconds = time.perf_counter() - compiling

    frames = config.num_iters * env.num_envs
    with ProgressReport("collect", frames, run.runtime.progress) as progress:

        def write(first: int, played: Transition) -> None:
            stop = min(first + CHUNK_STEPS, config.num_iters)
            # The last chunk may be longer than what is left.
            data = jax.tree.map(lambda x: x[: stop - first], jax.device_get(played))
            _store(arrays, data, first, stop)
            measured = episode_metrics(data.step, env.game.achievements)
            stacked = {name: np.asarray(value)[None] for name, value in measured.items()}
            rows = to_rows(stacked, first // CHUNK_STEPS, 0)
            rows = [row | {"frames": stop * env.num_envs} for row in rows]
            metrics.write(rows)
            run.tracker.log(rows)
            progress.update(stop * env.num_envs)

        pending: tuple[int, Transition] | None = None
        for first in range(0, config.num_iters, CHUNK_STEPS):
            player, played = player.start(first)
            # While this chunk is played, the host writes the one before.
            if pending is not None:
                write(*pending)
            pending = first, played
        if pending is not None:
            write(*pending)
        return progress.timing(compile_seconds)


def _new_arrays(folder: Path, shape: tuple[int, int], obs_dim: int) -> dict[str, np.memmap]:
    """Arrays on disk, `.npy` files in a folder of their own; says first how large they get."""
    shapes = {
        "obs": ((*shape, obs_dim), np.float32),
        "actions": (shape, np.int32),
        "rewards": (shape, np.float32),
        "dones": (shape, np.bool_),
    }
    size = int(sum(np.prod(dims) * np.dtype(dtype).itemsize for dims, dtype in shapes.values()))
    logger.info(f"collect: {np.prod(shape):,} frames, {size / 1e9:.2f} GB before compression")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"collect_num_steps = {np.prod(shape)}: {size / 1e9:.1f} GB of trajectories do not fit the "
            f"{free / 1e9:.1f} GB that {folder} has free; lower it"
        )
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=dims)
        for name, (dims, dtype) in shapes.items()
    }


def _store(arrays: dict[str, np.memmap], data: Transition, first: int, stop: int) -> None:
    """Write a chunk [T, E, ...] to its place in arrays [E, N, ...]."""
    chunk = {"obs": data.obs, "actions": data.action, "rewards": data.step.reward, "dones": data.step.done}
    for name, values in chunk.items():
        arrays[name][:, first:stop] = np.swapaxes(values, 0, 1)


def _zip(folder: Path, path: Path) -> None:
    """Join `.npy` files into an `.npz`; observations are nearly all zeros and shrink some thirty times."""
    with (
        whole_file(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1, allowZip64=True) as archive,
    ):
        for array in sorted(folder.glob("*.npy")):
            archive.write(array, array.name)
