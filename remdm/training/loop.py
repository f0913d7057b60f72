"""The training loop of all algorithms."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from remdm.base.errors import Interrupted, UserError
from remdm.base.program import compiled
from remdm.base.tree import where
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.training.algorithm import Algorithm, Metrics, repeated
from remdm.training.chunk import Chunk, averaged, not_finite, note_of, rows_of
from remdm.training.devices import (
    agreed,
    data_mesh,
    layout,
    meet,
    replicated,
    size,
    to_host,
    traced_on,
)
from remdm.training.interruption import Interruption, deadline
from remdm.training.metrics import MetricsTable
from remdm.training.progress import ProgressReport
from remdm.training.run import Run
from remdm.training.snapshots import Snapshots
from remdm.training.state import Start, TrainState, first_state, from_items, one, to_items

logger = logging.getLogger("remdm")

# Length of a chunk in seconds, if one update is not longer: a signal takes effect after the running chunk.
CHUNK_SECONDS = 5.0
MOST_UNFINISHED = 0.5  # share of a validation's first episodes that may outlast it without a warning


@dataclass(frozen=True)
class Trained:
    """The results of a finished repetition in memory, and the folder of those on disk."""

    folder: Path
    params: Any
    best_params: Any
    best_update: int
    items: Callable[[], dict[str, Any]]  # all that is needed to resume, for one repetition at a time
    devices: int  # how many shared the work, on which `items` depend
    validate: Callable[[Any], Metrics]  # of parameters, by the program and in the worlds of all validations


def train(
    algorithm: Algorithm, seed: int, run: Run, repeats: int = 1, start: Start | None = None
) -> tuple[list[Trained], dict[str, float]]:
    """Run all updates, from the newest saved state if there is one, and write `metrics.parquet`.

    All devices of JAX share the work, if the algorithm's state has fields to split. All processes must make
    this call; only the first writes.

    Returns:
        Each repetition's result, and the run's times.

    Raises:
        UserError: a loss, a gradient or a reward is not finite; the message names the update and the metric.
        Interrupted: by a signal or a time limit; the state is saved.
    """
    loop = _Loop(repeated(algorithm, repeats), seed, run, start)
    timing = loop.run_all()
    return loop.results(), timing


class _Loop:
    """One training run, from its first state to its last."""

    def __init__(self, algorithm: Algorithm, seed: int, run: Run, start: Start | None) -> None:
        assert isinstance(run.runtime, TrainingRuntimeConfig)
        self.algorithm, self.seed, self.run, self.runtime = algorithm, seed, run, run.runtime
        self.frames_per_update = algorithm.frames_per_update * algorithm.repeats
        self.mesh = data_mesh(algorithm)
        self.tables: list[MetricsTable] = []
        if jax.process_index() == 0:
            self.tables = [
                MetricsTable(run.state / "metrics" / f"r{repeat}") for repeat in range(algorithm.repeats)
            ]
        self.snapshots = Snapshots(run.state / "snapshots", self.tables)
        # A numpy array, because an array on a device would belong to one process.
        self.state = self._first_state(np.asarray(run.key(seed)), start)
        self.done = int(self.state.update)
        for table in self.tables:
            table.rewind(self.done)
        self.seconds = self.tables[0].last("seconds") if self.tables else 0.0

        compiling = time.perf_counter()
        self.run_chunk = _compile_chunk(algorithm, self.state, self.runtime.chunk_updates, self.mesh)
        meet()
        self.compile_seconds = time.perf_counter() - compiling
        logger.info("%s: compiled in %.1f s", run.stage, self.compile_seconds)
        if algorithm.validate is not None:  # first needed after many updates, which do not wait for it
            params = algorithm.part(algorithm.params(self.state.algorithm), 0)
            self.validate = _Later(
                partial(_compile_validate, algorithm, self.mesh, self.state.val_key, params)
            )
            self.keep_best = jax.jit(_keep_best, out_shardings=replicated(self.mesh))
        self.updates_in_time = 1  # how many take CHUNK_SECONDS
        self.longest_chunk = self.copy_seconds = 0.0
        self.has_warned = False

    def _first_state(self, key: np.ndarray, start: Start | None) -> TrainState:
        newest = self.snapshots.newest()
        if newest is None:
            return first_state(self.algorithm, key, start, self.mesh)
        state = from_items(self.algorithm, key, newest, self.mesh)
        done, total = int(state.update), self.algorithm.num_updates
        logger.info("%s: resuming from update %d of %d", self.run.stage, done, total)
        return state

    def run_all(self) -> dict[str, float]:
        """Run the remaining updates; returns their times."""
        num_updates = self.algorithm.num_updates
        total, done = num_updates * self.frames_per_update, self.done * self.frames_per_update
        self.progress = ProgressReport(self.run.stage, total, self.runtime.progress, done)
        self.last_write = self.last_save = time.perf_counter()
        pending: Chunk | None = None
        end = deadline(self.runtime, self.run.started)
        try:
            with self.progress, Interruption(end) as interruption:
                while self.done < num_updates:
                    chunk = self._dispatch()
                    # While this chunk runs, the host writes the metrics of the one before.
                    if pending is not None:
                        self._write(pending)
                    pending = chunk
                    interrupted, save = self._decide(interruption, end)
                    if interrupted or save:
                        self._write(pending)
                        pending = None
                        self._save()
                    if interrupted and self.done < num_updates:
                        self._log_interruption(interrupted)
                        raise interrupted
                if pending is not None:
                    self._write(pending)
                return self.progress.timing(self.compile_seconds)
        finally:
            # The folder must stay locked while snapshots are written to it.
            self.snapshots.close()

    def results(self) -> list[Trained]:
        """Each repetition's result; its metrics are written."""
        results = []
        repeats, params = self.algorithm.repeats, self.algorithm.params(self.state.algorithm)
        for repeat in range(repeats):
            folder = self.run.folder if repeats == 1 else self.run.folder / f"r{repeat}"
            if jax.process_index() == 0:
                self.tables[repeat].finish(folder / "metrics.parquet")
            all_of_them = params, self.state.best_params, self.state.best_update
            own, best, best_update = jax.device_get(self.algorithm.part(all_of_them, repeat))
            items = partial(self._items, repeat)
            results.append(
                Trained(folder, own, best, int(best_update), items, size(self.mesh), self._measure)
            )
        return results

    def _measure(self, params: Any) -> Metrics:
        return jax.device_get(self.validate(self.state.val_key, params))

    def _items(self, repeat: int) -> dict[str, Any]:
        own = one(self.algorithm, self.state, repeat)
        return to_host(to_items(own, self.runtime.checkpoint_buffer))

    def _dispatch(self) -> Chunk:
        """Start the next updates on the device, and the validation that follows them."""
        algorithm = self.algorithm
        length = self._chunk_length()
        self.state, metrics = self.run_chunk(self.state, length)
        chunk = Chunk(self.done, length, metrics, {})
        self.done += length
        if algorithm.validate is not None and (
            self.done % algorithm.val_every == 0 or self.done == algorithm.num_updates
        ):
            chunk = chunk._replace(val_metrics=self._validate())
        return chunk

    def _validate(self) -> Metrics:
        """Metrics of each repetition; its parameters are kept if they are its best so far."""
        state = self.state
        params = self.algorithm.params(state.algorithm)
        # The same worlds at every validation, so that scores differ only by the parameters. One repetition
        # after the other: vectorised, a `cond` would run both of its branches at every step.
        repeats = self.algorithm.repeats
        each = [self.validate(state.val_key, self.algorithm.part(params, k)) for k in range(repeats)]
        metrics = each[0] if repeats == 1 else jax.tree.map(lambda *x: jnp.stack(x), *each)
        best = state.best_score, state.best_update, state.best_params
        score, update, params = self.keep_best(best, (metrics["val/score"], state.update, params))
        self.state = replace(state, best_score=score, best_update=update, best_params=params)
        return metrics

    def _chunk_length(self) -> int:
        """Updates until the next validation or the end, or that fit CHUNK_SECONDS. It changes no result."""
        algorithm = self.algorithm
        limits = [self.runtime.chunk_updates, algorithm.num_updates - self.done]
        if algorithm.validate is not None:
            limits.append(algorithm.val_every - self.done % algorithm.val_every)
        return min(*limits, self.updates_in_time)

    def _decide(self, interruption: Interruption, end: float | None) -> tuple[Interrupted | None, bool]:
        """Whether to stop, or to save and continue; clocks and signals are those of the first process."""
        if jax.process_count() > 1:
            # Two programs at once that communicate with other processes can deadlock.
            jax.block_until_ready(self.state)
        interrupted = interruption.reason(self._needed_seconds(end))
        status, save, self.updates_in_time = agreed(
            interrupted.status if interrupted else 0, self._save_is_due(end), self.updates_in_time
        )
        if status and interrupted is None:
            interrupted = Interrupted("the first process", status)
        return (interrupted if status else None), bool(save)

    def _write(self, chunk: Chunk) -> None:
        """Wait for a chunk and write its rows.

        Raises:
            UserError: a loss, a gradient or a reward is not finite; what was saved before stays.
        """
        if problem := not_finite(chunk):
            raise UserError(f"{problem}: training has diverged; {self._last_good()}")
        now = time.perf_counter()
        seconds, self.last_write = now - self.last_write, now
        ran = self.seconds + seconds * np.arange(1, chunk.length + 1) / chunk.length
        self.seconds = float(ran[-1])
        rows = rows_of(chunk, self.algorithm)
        for table, own in zip(self.tables, rows, strict=False):  # empty except in the first process
            table.write([row | {"seconds": float(at)} for row, at in zip(own, ran, strict=True)])
        self.updates_in_time = max(1, int(CHUNK_SECONDS * chunk.length / seconds))
        self.longest_chunk = max(self.longest_chunk, seconds)
        self.run.log(averaged(rows, {"train/sps": self.frames_per_update * chunk.length / seconds}))
        self.progress.update((chunk.first + chunk.length) * self.frames_per_update, note_of(rows[0]))
        self._warn_of_a_short_validation(rows[0][-1].get("val/unfinished", 0.0))

    def _warn_of_a_short_validation(self, unfinished: float) -> None:
        """Warn once if most of a validation's first episodes had not ended."""
        if unfinished > MOST_UNFINISHED and not self.has_warned:
            self.has_warned = True
            logger.warning(
                f"{self.run.stage}: {unfinished:.0%} of the first episodes of a validation last beyond its "
                f"last step, so it measures only beginnings; raise val_steps (of an arm, eval_steps)"
            )

    def _last_good(self) -> str:
        self.snapshots.wait()
        newest = self.snapshots.newest()
        if newest is None:
            return "no state was saved before (checkpoint_every_minutes)"
        return f"the last good state is {newest}, which resume_checkpoint_path can resume"

    def _save(self) -> None:
        """Copy the state and start writing it."""
        began = time.perf_counter()
        items = to_items(self.state, self.runtime.checkpoint_buffer)
        self.snapshots.save(self.done, items, {"update_step": self.done, "devices": size(self.mesh)})
        self.last_save = time.perf_counter()
        self.copy_seconds = self.last_save - began

    def _save_is_due(self, end: float | None) -> bool:
        """Whether a snapshot is due; with a time limit, the first is due at once, to measure its time."""
        if self.snapshots.busy:
            return False
        unknown = end is not None and self.snapshots.seconds is None and self.copy_seconds == 0.0
        return unknown or time.perf_counter() - self.last_save > 60 * self.runtime.checkpoint_every_minutes

    def _needed_seconds(self, end: float | None) -> float:
        """Seconds needed before a time limit: two chunks and saves, and a tenth of it, 30 s at most."""
        if end is None:
            return 0.0
        save = self.copy_seconds + (self.snapshots.seconds or 0.0)
        return 2 * (self.longest_chunk + save) + min(30.0, 0.1 * (end - self.run.started))

    def _log_interruption(self, interrupted: Interrupted) -> None:
        self.snapshots.wait()
        resumes = "the same command starts again"
        if self.snapshots.saved is not None:
            resumes = f"the same command with --seed {self.seed} resumes after update {self.snapshots.saved}"
        done = f"{self.done} of {self.algorithm.num_updates}"
        logger.info("%s: stopped by %s after update %s; %s", self.run.stage, interrupted, done, resumes)


class _Later:
    """A program that is compiled in a thread; its first call waits for it."""

    def __init__(self, compile_program: Callable[[], Callable[..., Any]]) -> None:
        threads = ThreadPoolExecutor(1)
        self.program = threads.submit(compile_program)
        self.has_run = False
        threads.shutdown(wait=False)

    def __call__(self, *arguments: Any) -> Any:
        program = self.program.result()
        if not self.has_run:
            meet()
            self.has_run = True
        return program(*arguments)


def _compiled_on(
    mesh: Mesh | None, function: Callable[..., Any], *arguments: Any, **options: Any
) -> Callable[..., Any]:
    """`compiled`, for these devices."""

    @wraps(function)
    def traced(*arguments: Any) -> Any:
        with traced_on(mesh):
            return function(*arguments)

    return compiled(traced, *arguments, **options)


def _compile_chunk(
    algorithm: Algorithm, state: TrainState, limit: int, mesh: Mesh | None
) -> Callable[[TrainState, int], tuple[TrainState, Metrics]]:
    """Up to `limit` updates in one call; their number is an argument, so every length is one compilation.

    The state's buffers are donated, because a replay buffer must not exist twice. Its arrays keep their
    shardings.
    """
    with traced_on(mesh):
        shapes = jax.eval_shape(algorithm.update, state.algorithm)[1]

    def chunk(state: TrainState, length: jax.Array) -> tuple[TrainState, Metrics]:
        def body(i: jax.Array, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            inner, stacked = carry
            inner, metrics = algorithm.update(inner)
            return inner, jax.tree.map(lambda all_, one: all_.at[i].set(one), stacked, metrics)

        # With room for only one update, XLA makes another program, whose fusions may round differently.
        empty = jax.tree.map(lambda x: jnp.zeros((max(2, limit), *x.shape), x.dtype), shapes)
        inner, metrics = jax.lax.fori_loop(0, length, body, (state.algorithm, empty))
        return replace(state, algorithm=inner, update=state.update + length), metrics

    shardings = None if mesh is None else (layout(mesh, algorithm, state), replicated(mesh))
    length = np.zeros((), np.int32)
    program = _compiled_on(mesh, chunk, state, length, donate_argnums=0, out_shardings=shardings)
    return lambda state, length: program(state, np.asarray(length, np.int32))


def _compile_validate(
    algorithm: Algorithm, mesh: Mesh | None, key: jax.Array, params: Any
) -> Callable[[jax.Array, Any], Metrics]:
    """A validation of one repetition's parameters: one program for all methods that validate alike."""

    def validate(key: jax.Array, params: Any) -> Metrics:
        assert algorithm.validate is not None
        return algorithm.validate(key, params)

    return _compiled_on(mesh, validate, key, params, out_shardings=replicated(mesh))


def _keep_best(best: tuple[Any, Any, Any], new: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """The better by score of two triples of score, update and parameters, in each repetition."""
    better = new[0] > best[0]
    return where(better, new, best)
