"""Mode `collect`: save expert trajectories for inspection and analysis."""

import logging
import shutil
import time
import zipfile
from pathlib import Path

import jax
import numpy as np

from remdm.config.collect import CollectConfig
from remdm.envs.batch import make_batch_env
from remdm.envs.policy import Policy
from remdm.envs.rollout import PlayState, Transition, episode_metrics, rollout, start
from remdm.stages.expert import load_expert
from remdm.training.metrics import MetricsTable, to_rows
from remdm.training.progress import ProgressReport
from remdm.training.run import Run

logger = logging.getLogger("remdm")

CHUNK_STEPS = 64


def run_collect(config: CollectConfig, run: Run) -> None:
    """Write `trajectories.npz`, arrays [num_envs, num_iters, ...], `metrics.parquet` and `run.json`.

    `dones` follows the action: the episode ends with it. `obs` are those before the actions. Each
    chunk goes to disk as it is played, so memory does not grow with the number of steps.
    """
    env = make_batch_env(config, config.collect_num_envs)
    expert = load_expert(
        "ppo_checkpoint_path",
        config.ppo_checkpoint_path,
        config.env_name,
        env.game,
        config.collect_temperature,
    )
    run.open()
    shape = (env.num_envs, config.num_iters)
    size = np.prod(shape) * (env.game.obs_dim * 4 + 4 + 4 + 1)
    logger.info("collect: %s frames, %.2f GB before compression", f"{np.prod(shape):,}", size / 1e9)

    scratch = run.state / "arrays"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    arrays = {
        "obs": _new_array(scratch / "obs.npy", np.float32, (*shape, env.game.obs_dim)),
        "actions": _new_array(scratch / "actions.npy", np.int32, shape),
        "rewards": _new_array(scratch / "rewards.npy", np.float32, shape),
        "dones": _new_array(scratch / "dones.npy", np.bool_, shape),
    }

    def play(key: jax.Array, expert: Policy, state: PlayState) -> tuple[PlayState, Transition]:
        state, data = rollout(key, env, expert, state, CHUNK_STEPS)
        return state, data

    compiling = time.perf_counter()
    start_key, play_key = jax.random.split(run.key(config.seed))
    state = jax.jit(lambda key: start(key, env, expert.init(env.num_envs)))(start_key)
    play_chunk = jax.jit(play).lower(play_key, expert, state).compile()
    compile_seconds = time.perf_counter() - compiling

    metrics = MetricsTable(run.state / "metrics")
    metrics.rewind(0)
    with ProgressReport("collect", int(np.prod(shape)), run.runtime.progress) as progress:
        for chunk, first in enumerate(range(0, config.num_iters, CHUNK_STEPS)):
            state, data = play_chunk(jax.random.fold_in(play_key, chunk), expert, state)
            stop = min(first + CHUNK_STEPS, config.num_iters)
            data = jax.tree.map(lambda x: np.asarray(x)[: stop - first], data)  # noqa: B023
            _store(arrays, data, first, stop)
            measured = episode_metrics(data.step, env.game.achievements)
            stacked = {name: np.asarray(value)[None] for name, value in measured.items()}
            metrics.write([row | {"frames": stop * env.num_envs} for row in to_rows(stacked, chunk, 0)])
            progress.update(stop * env.num_envs)
        timing = progress.timing(compile_seconds)

    metrics.finish(run.folder / "metrics.parquet")
    _zip(scratch, run.folder / "trajectories.npz")
    run.finish(config, **timing)


def _new_array(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _store(arrays: dict[str, np.memmap], data: Transition, first: int, stop: int) -> None:
    """Write a chunk [T, E, ...] to its place in arrays [E, N, ...]."""
    chunk = {"obs": data.obs, "actions": data.action, "rewards": data.step.reward, "dones": data.step.done}
    for name, values in chunk.items():
        arrays[name][:, first:stop] = np.swapaxes(values, 0, 1)
        arrays[name].flush()


def _zip(folder: Path, path: Path) -> None:
    """Join `.npy` files into an `.npz`; observations are nearly all zeros and shrink some thirty times."""
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1, allowZip64=True) as archive:
        for array in sorted(folder.glob("*.npy")):
            archive.write(array, array.name)
    partial.replace(path)
