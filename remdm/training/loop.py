"""The one training loop: it runs any algorithm and knows none."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from remdm.config.base import UserError
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm, Metrics
from remdm.training.metrics import MetricsTable, Row, to_rows
from remdm.training.progress import ProgressReport
from remdm.training.run import Run

logger = logging.getLogger("remdm")


@struct.dataclass
class TrainState:
    """The whole state of a run: saving it and loading it back is resuming."""

    algorithm: Any
    update: jax.Array  # updates done
    val_key: jax.Array
    best_score: jax.Array
    best_update: jax.Array  # updates done when it was reached
    best_params: Any


class Chunk(NamedTuple):
    """What the device measures in one call: metrics [limit] of which `length` count, and a validation's."""

    first: int  # updates done before it
    length: int
    metrics: Metrics
    val_metrics: Metrics


@dataclass(frozen=True)
class Trained:
    """What a finished run leaves in memory."""

    params: Any
    best_params: Any
    best_update: int
    timing: dict[str, float]


def train(algorithm: Algorithm, seed: int, run: Run) -> Trained:
    """Run all updates, from the newest saved state if there is one, and write `metrics.parquet`.

    Raises:
        UserError: a loss is not finite; the message names the update and the metric.
    """
    run.open()
    compiling = time.perf_counter()
    state = _restore(algorithm, seed, run)
    run_chunk = _compile_chunk(algorithm, state, run.runtime.chunk_updates)
    validate = _compile_validate(algorithm, state)
    compile_seconds = time.perf_counter() - compiling
    logger.info("%s: compiled in %.1f s", run.stage, compile_seconds)

    done, per_update = int(state.update), algorithm.frames_per_update
    metrics = MetricsTable(run.state / "metrics")
    metrics.rewind(done)
    last_save = time.perf_counter()
    pending: Chunk | None = None
    frames = algorithm.num_updates * per_update
    with ProgressReport(run.stage, frames, run.runtime.progress, done * per_update) as progress:

        def write(chunk: Chunk) -> None:
            rows = _rows(chunk, per_update)
            metrics.write(rows)
            progress.update(int(rows[-1]["frames"]), _note(rows))

        while done < algorithm.num_updates:
            length = _chunk_length(algorithm, done, run.runtime.chunk_updates)
            state, chunk_metrics = run_chunk(state, length)
            chunk = Chunk(done, length, chunk_metrics, {})
            done += length
            if validate is not None and (done % algorithm.val_every == 0 or done == algorithm.num_updates):
                state, val_metrics = validate(state)
                chunk = chunk._replace(val_metrics=val_metrics)
            # While this chunk runs, the host writes what the one before measured.
            if pending is not None:
                write(pending)
            pending = chunk
            if time.perf_counter() - last_save > 60 * run.runtime.checkpoint_every_minutes:
                write(pending)
                pending = None
                checkpoint.save(run.state / "checkpoint", state, {"update": done})
                last_save = time.perf_counter()
        if pending is not None:
            write(pending)
        timing = progress.timing(compile_seconds)

    metrics.finish(run.folder / "metrics.parquet")
    return Trained(
        params=jax.device_get(algorithm.params(state.algorithm)),
        best_params=jax.device_get(state.best_params),
        best_update=int(state.best_update),
        timing=timing,
    )


def init_state(algorithm: Algorithm, key: jax.Array) -> TrainState:
    """The state before the first update."""
    init_key, val_key = jax.random.split(key)
    state = algorithm.init(init_key)
    return TrainState(
        algorithm=state,
        update=jnp.zeros((), jnp.int32),
        val_key=val_key,
        best_score=jnp.full((), -jnp.inf),
        best_update=jnp.zeros((), jnp.int32),
        # A copy: two leaves of one buffer could not both be donated.
        best_params=jax.tree.map(jnp.copy, algorithm.params(state)),
    )


def _restore(algorithm: Algorithm, seed: int, run: Run) -> TrainState:
    saved = run.state / "checkpoint"
    key = run.key(seed)
    init = jax.jit(lambda key: init_state(algorithm, key))
    checkpoint.recover(saved)
    if not saved.exists():
        return init(key)
    state = checkpoint.restore(saved, jax.eval_shape(init, key))
    logger.info("%s: goes on from update %d of %d", run.stage, int(state.update), algorithm.num_updates)
    # A copy: a buffer that numpy still owns cannot be donated.
    return jax.tree.map(jnp.array, state)


def _chunk_length(algorithm: Algorithm, done: int, limit: int) -> int:
    """Updates up to the next validation, the end, or the limit."""
    to_validation = algorithm.val_every - done % algorithm.val_every
    return min(limit, algorithm.num_updates - done, *([to_validation] if algorithm.validate else []))


def _compile_chunk(
    algorithm: Algorithm, state: TrainState, limit: int
) -> Callable[[TrainState, int], tuple[TrainState, Metrics]]:
    """Up to `limit` updates in one call; their number is an argument, so every length is one compilation."""
    shapes = jax.eval_shape(algorithm.update, state.algorithm)[1]

    def chunk(state: TrainState, length: jax.Array) -> tuple[TrainState, Metrics]:
        def body(i: jax.Array, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            inner, stacked = carry
            inner, metrics = algorithm.update(inner)
            return inner, jax.tree.map(lambda all_, one: all_.at[i].set(one), stacked, metrics)

        empty = jax.tree.map(lambda x: jnp.zeros((limit, *x.shape), x.dtype), shapes)
        inner, metrics = jax.lax.fori_loop(0, length, body, (state.algorithm, empty))
        return replace(state, algorithm=inner, update=state.update + length), metrics

    # The state is donated: a replay buffer must not exist twice.
    compiled = jax.jit(chunk, donate_argnums=0).lower(state, jnp.zeros((), jnp.int32)).compile()
    return lambda state, length: compiled(state, jnp.asarray(length, jnp.int32))


def _compile_validate(
    algorithm: Algorithm, state: TrainState
) -> Callable[[TrainState], tuple[TrainState, Metrics]] | None:
    validation = algorithm.validate
    if validation is None:
        return None

    def validate(state: TrainState) -> tuple[TrainState, Metrics]:
        # The same worlds at every validation, so that scores differ by the parameters alone.
        metrics = validation(state.val_key, state.algorithm)
        score = metrics["val/score"]
        better = score > state.best_score
        best_params = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), algorithm.params(state.algorithm), state.best_params
        )
        best = replace(
            state,
            best_score=jnp.where(better, score, state.best_score),
            best_update=jnp.where(better, state.update, state.best_update),
            best_params=best_params,
        )
        return best, metrics

    return jax.jit(validate, donate_argnums=0).lower(state).compile()


def _rows(chunk: Chunk, frames_per_update: int) -> list[Row]:
    """Rows of one chunk; a validation belongs to its last update. Waits for the device.

    Raises:
        UserError: a loss is not finite.
    """
    on_host = {name: np.asarray(values)[: chunk.length] for name, values in chunk.metrics.items()}
    for name, values in on_host.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if name.endswith("loss") and bad.size:
            raise UserError(
                f"update {chunk.first + bad[0] + 1}: {name} = {values[bad[0]]}: training has diverged"
            )
    rows = to_rows(on_host, chunk.first, frames_per_update)
    rows[-1] |= {name: float(value) for name, value in chunk.val_metrics.items() if not np.isnan(value)}
    return rows


def _note(rows: list[Row]) -> str:
    """What a person wants to see beside the bar."""
    shown = {"env/episode_return": "return", "val/score": "validation", "diffusion/accuracy": "accuracy"}
    latest = {name: row[key] for row in rows for key, name in shown.items() if key in row}
    return "  ".join(f"{name} {value:.2f}" for name, value in latest.items())
