"""Mode `collect`: save expert trajectories for inspection and analysis."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax

from remdm.base.errors import UserError
from remdm.base.program import one_behind
from remdm.base.trajectory_file import AFTER_ACTION, TrajectoryMetadata
from remdm.config.collect import CollectConfig
from remdm.envs.batch import BatchEnv, make_batch_env
from remdm.loading.expert import load_expert
from remdm.play.player import CHUNK_STEPS, compile_player
from remdm.play.policy import Policy
from remdm.play.rollout import Transition, episode_metrics
from remdm.stages.trajectories import Trajectories
from remdm.training.lock import locked_file
from remdm.training.metrics import MetricsTable, known
from remdm.training.progress import ProgressReport
from remdm.training.run import Run, installed_version


def run_collect(config: CollectConfig, run: Run) -> None:
    """Write `trajectories.npz`, arrays [num_envs, num_iters, ...], `metrics.parquet` and `run.json`.

    `dones` follows the action: the episode ends with it. `obs` precede the actions. The file's `metadata`
    records this convention and what was played. Each chunk is written to disk as it is played, so memory
    does not grow with the number of steps.

    Raises:
        UserError: the checkpoint contains no expert for this game, the disk is too small, or another process
            is writing the same file.
    """
    env = make_batch_env(config.env, config.collect_num_envs)
    temperature = config.collect_temperature
    expert = load_expert(*config.expert.named_path, config.env.env_name, env.game, temperature)
    run.open(config)
    target = _writable(config.offline_data_path, run.folder / "trajectories.npz")
    with locked_file(target):
        trajectories = Trajectories(run.state / "arrays", target, env.game, env.num_envs, config.num_iters)
        metrics = MetricsTable(run.state / "metrics")
        metrics.rewind(0)

        timing = _play_into(trajectories, metrics, config, run, env, expert)
        metrics.finish(run.folder / "metrics.parquet")
        trajectories.write(_metadata(config, run))
        run.finish(config, **timing)


def _metadata(config: CollectConfig, run: Run) -> TrajectoryMetadata:
    return TrajectoryMetadata(
        dones=AFTER_ACTION,
        env_name=config.env.env_name,
        num_envs=config.collect_num_envs,
        num_steps=config.num_iters,
        seed=config.seed,
        expert_digest=run.origin.get("inputs", {}).get("ppo_checkpoint_path"),
        remdm_version=installed_version("remdm"),
    )


def _writable(asked: str | None, default: Path) -> Path:
    """The path of the trajectories, checked before anything is played; an existing file is not touched.

    Raises:
        UserError: the path is a folder, or cannot be written.
    """
    path = Path(asked) if asked is not None else default
    if path.is_dir():
        raise UserError(f"offline_data_path = {path}: is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"offline_data_path = {path}: cannot be written ({error.strerror})") from None
    return path


def _play_into(
    trajectories: Trajectories,
    metrics: MetricsTable,
    config: CollectConfig,
    run: Run,
    env: BatchEnv,
    expert: Policy,
) -> dict[str, float]:
    """Play all steps and store each chunk; returns the timing."""
    compiling = time.perf_counter()
    player = compile_player(run.key(config.seed), env, expert, lambda played: played.packed(env.game))
    compile_seconds = time.perf_counter() - compiling
    measure = jax.jit(lambda step: episode_metrics(step, env.game.achievements))

    def chunks() -> Iterator[tuple[int, int, Transition, dict[str, jax.Array]]]:
        playing = player
        for first in range(0, config.num_iters, CHUNK_STEPS):
            playing, played = playing.start(first)
            stop = min(first + CHUNK_STEPS, config.num_iters)
            if stop < first + CHUNK_STEPS:  # the last chunk may be longer than what is left
                played = jax.tree.map(lambda x, length=stop - first: x[:length], played)
            yield first, stop, played, measure(played.step)

    frames = config.num_iters * env.num_envs
    with ProgressReport("collect", frames, run.runtime.progress) as progress:
        for first, stop, played, measured in one_behind(chunks()):
            trajectories.store(jax.device_get(played), first)
            row = {"update": first // CHUNK_STEPS + 1, "frames": stop * env.num_envs} | known(measured)
            metrics.write([row])
            run.log([row])
            progress.update(stop * env.num_envs)
        return progress.timing(compile_seconds)
