"""The loop, its resume, checkpoints and metrics, on an algorithm whose every state is known."""

import errno
import fcntl
import hashlib
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
import pytest
from flax import struct
from optax.contrib import MuonDimensionNumbers

from remdm.base.checkpoint_folder import read_metadata
from remdm.base.errors import Interrupted, UserError
from remdm.base.fields import Role, fields_with, roles_of
from remdm.base.holder import Holder
from remdm.planners.online import make_online
from remdm.play.buffer import CircularBuffer, empty, insert
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm, repeated
from remdm.training.interruption import TRY_AGAIN, Interruption, deadline
from remdm.training.lock import locked
from remdm.training.loop import _compile_validate, train
from remdm.training.metrics import MetricsTable
from remdm.training.optimizer import POLAR_EXPRESS, adamw, at_step, cosine_schedule, muon_adamw
from remdm.training.snapshots import Snapshots
from remdm.training.state import Start, TrainState, first_state
from tests.devices import algorithm_of
from tests.kill import read_metrics
from tests.test_planners import OnlineConfig, config_of
from tests.toy import toy_env, toy_expert


@struct.dataclass
class Count:
    n: jax.Array
    held: Annotated[jax.Array, Role.REFILLABLE]  # stands for a replay buffer: the last count
    shift: Annotated[jax.Array, Role.GIVEN]  # stands for an expert
    draw: jax.Array  # a random number of the first state


def counting(num_updates=7, val_every=3, diverge_at=None, shift=0.0, on_update=lambda n: None):
    """Counts its updates; validation prefers a count of 4."""

    def update(state):
        n = state.n + 1
        jax.debug.callback(on_update, n)
        loss = jnp.where(n == (diverge_at or -1), jnp.nan, n.astype(jnp.float32))
        metrics = {
            "loss": loss,
            "gap": jnp.where(n % 2 == 0, jnp.nan, 1.0),
            "held": state.held,
            "draw": state.draw,
        }
        return state.replace(n=n, held=n.astype(jnp.float32) + state.shift), metrics

    return Algorithm(
        init=lambda key: Count(
            jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.asarray(shift), jax.random.uniform(key)
        ),
        update=update,
        params=lambda state: {"n": state.n},
        adopt=lambda state, params, update: state.replace(n=params["n"] + 0 * update),
        num_updates=num_updates,
        frames_per_update=10,
        validate=lambda key, params: {"val/score": -jnp.abs(params["n"] - 4.0)},
        val_every=val_every,
    )


@pytest.mark.parametrize("chunk_updates", [1, 2, 100])
def test_rows_validation_and_best_do_not_depend_on_chunks(make_run, chunk_updates):
    run = make_run(chunk_updates=chunk_updates)
    [trained], timing = train(counting(), 0, run)
    assert trained.params["n"] == 7
    # Validated after 3, 6 and at the end; of those, 3 is nearest 4.
    assert trained.best_params["n"] == trained.best_update == 3
    table = pl.read_parquet(run.folder / "metrics.parquet")
    assert table["update"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table["frames"].to_list() == [10, 20, 30, 40, 50, 60, 70]
    assert table["loss"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table["val/score"].to_list() == [None, None, -1, None, None, -2, -3]
    # A mean over no episode is a gap, never a zero.
    assert table["gap"].to_list() == [1, None, 1, None, 1, None, 1]
    assert timing["frames_per_second"] > 0
    # Wall time of running: it never goes back, and is no longer than what it all took.
    seconds = table["seconds"].to_numpy()
    assert (np.diff(seconds, prepend=0.0) > 0).all()
    assert seconds[-1] <= timing["run_seconds"] + 0.01


@pytest.mark.parametrize("chunk_updates", [1, 100])
def test_a_learning_rate_that_changes_is_a_column(make_run, chunk_updates):
    run = make_run(chunk_updates=chunk_updates)
    rate = optax.linear_schedule(1.0, 0.0, 8)
    train(replace(counting(), learning_rate=lambda update: rate(2 * update - 1)), 0, run, repeats=2)
    for repeat in ("r0", "r1"):
        table = pl.read_parquet(run.folder / repeat / "metrics.parquet")
        assert table["train/learning_rate"].to_list() == [0.875, 0.625, 0.375, 0.125, 0, 0, 0]
    train(counting(), 0, make_run(name="constant"))
    assert "train/learning_rate" not in pl.read_parquet(run.folder.parent / "constant" / "metrics.parquet")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "schedule"),
    [
        ("ppo", optax.linear_schedule(1e-2, 0.0, 6)),
        ("offline", cosine_schedule(2e-3, 6, 0)),
        ("online", cosine_schedule(2e-3, 6, 0)),
    ],
)
def test_the_rate_of_a_row_is_that_of_its_last_step(stage, schedule):
    """By the optimiser's own count, whose n-th step, from 0, has the schedule's n-th rate."""
    algorithm = algorithm_of(stage)
    state, _ = algorithm.update(algorithm.init(jax.random.PRNGKey(0)))
    opt_state = state.opt_state if stage == "ppo" else state.learner.opt_state
    steps = optax.tree.get(opt_state, "count", filtering=lambda path, _: "ScaleBySchedule" in str(path))
    for update, step in ((1, int(steps) - 1), (algorithm.num_updates, 5)):
        assert algorithm.learning_rate(update) == pytest.approx(float(schedule(step)), rel=1e-6)


@pytest.mark.parametrize(("unfinished", "warned"), [(0.6, True), (0.5, False)])
def test_a_validation_that_most_episodes_outlast_is_told_once(make_run, caplog, unfinished, warned):
    def validate(key, params):
        return {"val/score": -params["n"], "val/unfinished": jnp.asarray(unfinished)}

    with caplog.at_level("WARNING", "remdm"):
        train(replace(counting(), validate=validate), 0, make_run())
    told = [record.getMessage() for record in caplog.records]
    assert told == ["test: 60% of the first episodes of a validation last beyond its last step, so it "
                    "measures only beginnings; raise val_steps (of an arm, eval_steps)"] * warned  # fmt: skip


def test_one_compilation_whatever_the_chunks_length(make_run):
    traces = []
    algorithm = counting(val_every=4)
    original = algorithm.update
    object.__setattr__(algorithm, "update", lambda n: (traces.append(1), original(n))[1])
    train(algorithm, 0, make_run(chunk_updates=3))
    # Once for the shapes of the metrics and once to compile, for chunks of 1 to 3 updates.
    assert len(traces) == 2


def test_updates_run_while_the_validation_is_compiled(make_run, monkeypatch):
    updated = threading.Event()

    def when_updated(*arguments):
        assert updated.wait(60), "no update until the validation is compiled"
        return _compile_validate(*arguments)

    monkeypatch.setattr("remdm.training.loop._compile_validate", when_updated)
    [trained], _ = train(counting(on_update=lambda n: updated.set()), 0, make_run(chunk_updates=1))
    assert trained.best_update == 3


def test_without_compilation_the_same_comes_out(make_run):
    compiled = make_run(name="compiled")
    train(counting(), 0, compiled)
    run = make_run(name="interpreted")
    jax.config.update("jax_disable_jit", True)  # as `--no-jit` does; the context manager is of one thread
    try:
        train(counting(), 0, run)
    finally:
        jax.config.update("jax_disable_jit", False)
    tables = [read_metrics(r.folder) for r in (compiled, run)]
    assert tables[0].equals(tables[1])


def test_a_loss_that_is_not_finite_stops_the_run(make_run):
    with pytest.raises(UserError, match=r"update 5: loss = nan: .* no state was saved"):
        train(counting(diverge_at=5), 0, make_run(chunk_updates=2))


def test_the_last_good_state_outlives_a_divergence(make_run):
    """Saved after every chunk: the newest is from before the loss was lost, and a run can resume from it."""
    run = make_run(chunk_updates=1, checkpoint_every_minutes=1e-6)
    with pytest.raises(UserError, match="update 6: loss = nan") as error:
        train(counting(diverge_at=6), 0, run)
    newest = Path(re.search(r"the last good state is (\S+),", str(error.value))[1])
    update = int(newest.name)
    assert 1 <= update <= 5
    [trained], _ = train(counting(), 0, make_run(name="mended"), start=Start(newest, update, whole=True))
    assert trained.params["n"] == 7


@pytest.mark.parametrize("name", ["ppo/value_loss", "diffusion/grad_norm", "env/reward"])
def test_what_must_be_finite(make_run, name):
    algorithm = counting(diverge_at=3)

    def update(state):
        state, metrics = algorithm.update(state)
        return state, {name: metrics.pop("loss"), **metrics}

    with pytest.raises(UserError, match=f"update 3: {name} = nan"):
        train(replace(algorithm, update=update), 0, make_run())


def test_repetitions_are_independent_and_each_is_a_run_of_its_own(make_run):
    run = make_run()
    results, _ = train(counting(shift=0.5), 0, run, repeats=3)
    tables = [pl.read_parquet(run.folder / f"r{k}" / "metrics.parquet") for k in range(3)]
    assert len({table["draw"][0] for table in tables}) == 3
    for result, table in zip(results, tables, strict=True):
        assert table["loss"].to_list() == [1, 2, 3, 4, 5, 6, 7]
        # What the algorithm is given has no leading axis, and reached every one of them.
        assert table["held"].to_list() == [0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
        assert table["val/score"].to_list() == [None, None, -1, None, None, -2, -3]
        assert result.params["n"].shape == ()
        assert result.best_params["n"] == 3
    alone = make_run(name="alone")
    key = jax.random.split(jax.random.split(alone.key(0))[0], 3)[1]
    assert tables[1]["draw"][0] == float(jax.random.uniform(key))


class Killed(BaseException):
    pass


@pytest.fixture
def snapshot_every_chunk(monkeypatch):
    """Snapshots after every chunk, each on disk before training goes on."""
    save = Snapshots.save

    def save_and_wait(snapshots, *arguments):
        save(snapshots, *arguments)
        snapshots.wait()

    monkeypatch.setattr(Snapshots, "save", save_and_wait)
    return {"chunk_updates": 1, "checkpoint_every_minutes": 1e-9}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill_after", "keys"), [(2, {}), (4, {"optimizer": "muon", "prefix_share": 0.5, "soft_labels": True})]
)
def test_resumed_dagger_equals_an_uninterrupted_run(
    make_run, monkeypatch, kill_after, keys, snapshot_every_chunk
):
    """Parameters, best parameters and metrics, bit for bit; buffer, games and optimiser among the state."""
    config = config_of(OnlineConfig, online_total_timesteps=8 * 16 * 6, val_interval=2, **keys)
    algorithm = make_online(config, toy_env(8), toy_env(8), toy_expert())
    whole_run = make_run(name="whole", chunk_updates=6)
    [whole], _ = train(algorithm, 0, whole_run)

    write, kept = MetricsTable.write, []

    def write_then_die(table, rows):
        write(table, rows)
        if rows[-1]["update"] > kill_after:
            raise Killed
        kept.append(rows[-1]["seconds"])

    run = make_run(name="killed", **snapshot_every_chunk)
    monkeypatch.setattr(MetricsTable, "write", write_then_die)
    with pytest.raises(Killed):
        train(algorithm, 0, run)
    monkeypatch.setattr(MetricsTable, "write", write)
    assert int(Snapshots(run.state / "snapshots").newest().name) == kill_after
    [resumed], _ = train(algorithm, 0, run)
    for name in ("params", "best_params"):
        jax.tree.map(np.testing.assert_array_equal, getattr(whole, name), getattr(resumed, name))
    expected = read_metrics(whole_run.folder)
    assert expected["update"].to_list() == list(range(1, 7))
    assert read_metrics(run.folder).equals(expected)
    # Time goes on from what led to the saved state.
    seconds = pl.read_parquet(run.folder / "metrics.parquet")["seconds"].to_list()
    assert seconds[:kill_after] == kept
    assert seconds[kill_after] > seconds[kill_after - 1]


def test_resumed_repetitions_equal_uninterrupted_ones(make_run, monkeypatch, snapshot_every_chunk):
    whole = make_run(name="whole")
    train(counting(shift=0.5), 0, whole, repeats=3)
    write = MetricsTable.write

    def write_then_die(table, rows):
        write(table, rows)
        if rows[-1]["update"] > 4 and table.folder.name == "r1":
            raise Killed

    run = make_run(name="killed", **snapshot_every_chunk)
    monkeypatch.setattr(MetricsTable, "write", write_then_die)
    with pytest.raises(Killed):
        train(counting(shift=0.5), 0, run, repeats=3)
    monkeypatch.setattr(MetricsTable, "write", write)
    results, _ = train(counting(shift=0.5), 0, run, repeats=3)
    for k, result in enumerate(results):
        assert (result.params["n"], result.best_params["n"]) == (7, 3)
        tables = [read_metrics(r.folder / f"r{k}") for r in (whole, run)]
        assert tables[0].equals(tables[1])


# --- stopping early ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_next_run_goes_on(make_run, number):
    """It arrives during update 4; the chunk is finished, saved, and nothing is lost or done twice."""

    def terminate(n):
        if n == 4:
            os.kill(os.getpid(), number)

    run = make_run(chunk_updates=2)
    before = signal.signal(number, signal.SIG_DFL)  # under nohup it was ignored
    try:
        with pytest.raises(Interrupted, match=number.name) as stopped:
            train(counting(num_updates=200, on_update=terminate), 0, run)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert stopped.value.status == 128 + number
    done = int(Snapshots(run.state / "snapshots").newest().name)
    assert 4 <= done < 200
    [trained], _ = train(counting(num_updates=200), 0, run)
    assert trained.params["n"] == 200
    table = pl.read_parquet(run.folder / "metrics.parquet")
    assert table["loss"].to_list() == list(range(1, 201))


def test_under_nohup_a_closed_terminal_stops_nothing(make_run):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hang_up = counting(num_updates=8, on_update=lambda n: os.kill(os.getpid(), signal.SIGHUP))
        [trained], _ = train(hang_up, 0, make_run())
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert trained.params["n"] == 8


def test_a_time_limit_saves_before_it_is_over(make_run):
    run = make_run(chunk_updates=1, time_limit_minutes=1e-6)
    with pytest.raises(Interrupted, match="time limit") as stopped:
        train(counting(), 0, run)
    assert stopped.value.status == TRY_AGAIN
    assert int(Snapshots(run.state / "snapshots").newest().name) == 1


def test_slurms_time_limit_is_known(make_run, monkeypatch):
    runtime = make_run().runtime
    assert deadline(runtime, 5.0) is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 100))
    assert deadline(runtime, 5.0) - time.perf_counter() == pytest.approx(100, abs=2)
    assert deadline(runtime.model_copy(update={"time_limit_minutes": 2.0}), 5.0) == 125.0


@pytest.fixture
def squeue(monkeypatch, tmp_path):
    """Lets `squeue` be a script; tests/test_slurm.py asks a real one."""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "squeue"

    def answer(script):
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    answer("exit 1")
    return answer


def test_a_slurm_that_does_not_tell_its_jobs_is_asked(make_run, monkeypatch, squeue, caplog):
    runtime = make_run().runtime
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    squeue('[ "$SLURM_TIME_FORMAT" = %s ] && echo $(($(date +%s) + 100))')
    assert deadline(runtime, 5.0) - time.perf_counter() == pytest.approx(100, abs=5)
    squeue("echo NONE")
    assert deadline(runtime, 5.0) is None
    assert "job 17: no time of its end from Slurm" in caplog.text


@pytest.mark.parametrize("stale", [-1000, 50, 10**6])
def test_the_end_of_another_job_does_not_count(stale, make_run, monkeypatch, squeue):
    """As of the shell that submitted this one; and the time of a job may be extended while it runs."""
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + stale))
    squeue("echo $(($(date +%s) + 100))")
    assert deadline(make_run().runtime, 5.0) - time.perf_counter() == pytest.approx(100, abs=5)


@pytest.mark.parametrize("script", ["exit 1", "echo 1700000000", "echo"])
def test_a_job_that_has_ended_stops_no_training(script, make_run, monkeypatch, squeue, caplog):
    """Its shell goes on in `tmux`, and with it what Slurm told it."""
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1700000000")
    squeue(script)
    assert deadline(make_run().runtime, 5.0) is None
    assert caplog.messages == [
        "job 17: no time of its end from Slurm (1700000000 is past, as of a job that has ended); "
        "set time_limit_minutes"
    ]


@pytest.mark.parametrize(
    "told", ["UNLIMITED", "Partition_Limit", "NOT_SET", "1-00:00:00", "N/A", "nan", "inf", "-1", "0", ""]
)
def test_a_slurm_that_gives_no_end_is_told_in_one_line(told, make_run, monkeypatch, squeue, caplog):
    monkeypatch.setenv("SLURM_JOB_END_TIME", told)
    assert deadline(make_run().runtime, 5.0) is None
    assert caplog.messages == [
        f"job 17: no time of its end from Slurm ({told!r} is not in seconds since 1970); "
        f"set time_limit_minutes"
    ]


def test_a_second_signal_acts_as_ever():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job has not
    with Interruption(None) as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.reason(0.0).status == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("update", "left"), [(5, 5), (4, 4), (3, 2), (0, 0)])
def test_a_table_forgets_the_parts_beyond_an_update(update, left, tmp_path):
    table = MetricsTable(tmp_path / "parts")
    for first, last in ((1, 2), (3, 4), (5, 5)):
        table.write([{"update": n, "loss": float(n)} for n in range(first, last + 1)])
    table.rewind(update)
    assert table.last("loss") == left
    table.write([{"update": left + 1, "loss": -1.0}])
    table.finish(tmp_path / "metrics.parquet")
    rows = pl.read_parquet(tmp_path / "metrics.parquet")
    assert rows["loss"].to_list() == [*range(1, left + 1), -1.0]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def make_unreadable(path):
    """Reading it is an I/O error, for root too."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


DAMAGES = pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink, make_unreadable])


@pytest.mark.parametrize(
    ("damage", "part", "first"),
    [(flip_a_bit, 7, 7), (make_unreadable, 7, 7), (truncate, 6, 1), (Path.unlink, 1, 1)],
)
def test_a_damaged_part_of_the_metrics_is_computed_again(
    make_run, caplog, snapshot_every_chunk, damage, part, first
):
    """From a snapshot that is older than the part, if one is left; else from the beginning."""
    updates = []
    algorithm = counting(on_update=lambda n: updates.append(int(n)))
    run = make_run(**snapshot_every_chunk)
    train(algorithm, 0, run, repeats=2)
    expected = [read_metrics(run.folder / f"r{k}") for k in range(2)]
    damage(run.state / "metrics" / "r1" / f"{part:012d}.parquet")
    updates.clear()
    train(algorithm, 0, run, repeats=2)
    assert sorted(updates) == sorted(2 * [*range(first, 8)])
    assert all(read_metrics(run.folder / f"r{k}").equals(expected[k]) for k in range(2))
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert all(f"metrics {run.state / 'metrics' / 'r1'}: " in warning for warning in warnings)
    assert [w.partition("; ")[2] for w in warnings] == (
        ["the snapshot before it is used"] + ["the run starts again"] * (part < 7)
    )


@DAMAGES
def test_rows_that_are_damaged_in_a_running_process_are_no_result(tmp_path, damage):
    table = MetricsTable(tmp_path / "parts")
    for n in (1, 2):
        table.write([{"update": n, "loss": float(n)}])
    damage(tmp_path / "parts" / f"{1:012d}.parquet")
    with pytest.raises(UserError, match="parts: "):
        table.finish(tmp_path / "metrics.parquet")
    assert not (tmp_path / "metrics.parquet").exists()


def test_no_part_of_a_finished_state_is_left_to_resume_from(make_run, monkeypatch):
    """Killed while the state is removed."""

    def die(*arguments, **options):
        raise Killed

    config = config_of(OnlineConfig)
    part = Path("metrics") / "r0" / "000000000001.parquet"
    with make_run() as run:
        run.open(config)
        MetricsTable((run.state / part).parent).write([{"update": 1}])
        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", die)
            with pytest.raises(Killed):
                run.finish(config)
    assert (run.folder / "run.json").exists()
    assert not run.state.exists()
    assert list(run.folder.parent.rglob(part.name))  # it was killed before it was removed
    with make_run() as again:
        again.open(config)
        assert not list(run.folder.parent.rglob(part.name))
        again.finish(config)
    assert [path.name for path in run.folder.parent.iterdir()] == [run.folder.name]


# --- what is on disk ---


@DAMAGES
def test_the_last_two_snapshots_are_kept_and_a_damaged_one_is_passed_over(tmp_path, caplog, damage):
    snapshots = Snapshots(tmp_path)
    assert snapshots.newest() is None
    state = {"a": jnp.arange(1000.0)}
    for update in (5, 10, 15):
        snapshots.save(update, {"training": state}, {"update_step": update})
        state = {"a": state["a"] + 1}
    snapshots.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000000010", "000000000015"]
    newest = snapshots.newest()
    restored = checkpoint.restore(newest, "training", {"a": jax.ShapeDtypeStruct((1000,), jnp.float32)})
    assert (restored["a"] == np.arange(1000.0) + 2).all()
    damage(max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size))
    (tmp_path / ".000000000020.partial").mkdir()
    snapshots = Snapshots(tmp_path)
    assert snapshots.newest().name == "000000000010"
    assert "the snapshot before it is used" in caplog.text
    # What is damaged or half-written is gone, so that it cannot crowd out what is written next.
    assert [p.name for p in tmp_path.iterdir()] == ["000000000010"]
    record = tmp_path / "000000000010" / "checksums.json"
    record.write_text("{") if damage is truncate else damage(record)
    assert snapshots.newest() is None
    assert "the run starts again" in caplog.text
    snapshots.save(3, {"training": state}, {})
    snapshots.close()
    assert Snapshots(tmp_path).newest().name == "000000000003"


def test_a_snapshot_that_cannot_be_written_costs_only_itself(
    make_run, monkeypatch, caplog, snapshot_every_chunk
):
    save = checkpoint.save

    def full_disk(path, items, metadata):
        if metadata["update_step"] == 2:
            raise UserError(f"checkpoint {path}: cannot be written (No space left on device)")
        save(path, items, metadata)

    monkeypatch.setattr(checkpoint, "save", full_disk)
    [trained], _ = train(counting(), 0, make_run(**snapshot_every_chunk))
    assert trained.params["n"] == 7
    assert "No space left" in caplog.text


def test_a_full_disk_is_one_line_and_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, {"params": {"a": jnp.arange(3)}}, {"n": 1})

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_checksums", fails)
    with pytest.raises(UserError, match=r"checkpoint: cannot be written \(.*No space left"):
        checkpoint.save(path, {"params": {"a": jnp.arange(4)}}, {"n": 2})
    assert read_metadata(path) == {"n": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_a_run_without_its_buffer_says_so_and_refills_it(make_run, caplog):
    run = make_run(chunk_updates=1, checkpoint_buffer=False, time_limit_minutes=1e-6)
    with pytest.raises(Interrupted):
        train(counting(shift=0.5), 0, run)
    on = make_run(chunk_updates=1)
    train(counting(shift=0.5), 0, on)
    table = pl.read_parquet(on.folder / "metrics.parquet")
    # The first update after going on finds the buffer as at the start.
    assert table["held"].to_list() == [0, 0, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert "refills" in caplog.text


def no_flock(*arguments):
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("flock", [fcntl.flock, no_flock], ids=["flock", "no_flock"])
def test_two_processes_in_one_folder(flock, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", flock)
    code = f"""
import fcntl, time; from pathlib import Path; from remdm.training.lock import locked
def no_flock(*arguments): raise OSError({errno.ENOSYS}, "Function not implemented")
fcntl.flock = {"no_flock" if flock is no_flock else "fcntl.flock"}
with locked(Path({str(tmp_path)!r})):
    print("held", flush=True); time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by process {other.pid} on "), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_host_without_flock_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_flock)
    (tmp_path / ".lock").write_text("process 1 on another.host\n")
    message = f"in use by process 1 on another.host; if that has ended, delete {tmp_path / '.lock'}"
    with pytest.raises(UserError, match=message), locked(tmp_path):
        pass
    (tmp_path / ".lock").unlink()
    with locked(tmp_path):
        pass


def test_a_lock_without_flock_that_another_process_takes_over_first_is_its_own(tmp_path, monkeypatch):
    """Both find the lock of a process that has ended; the other removes it and takes it just before."""
    monkeypatch.setattr(fcntl, "flock", no_flock)
    path, has_ended = tmp_path / ".lock", Holder.has_ended.fget
    others = f"process {os.getppid()} on {socket.gethostname()}\n"

    def slowly(holder):
        ended = has_ended(holder)
        path.unlink()
        path.write_text(others)
        return ended

    with subprocess.Popen(["true"]) as gone:
        pass
    path.write_text(f"process {gone.pid} on {socket.gethostname()}\n")
    monkeypatch.setattr(Holder, "has_ended", property(slowly))
    with pytest.raises(UserError, match=f"in use by {others.strip()}"), locked(tmp_path):
        pass
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(".lock", others)]


def test_a_lock_follows_no_link(tmp_path):
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / ".lock").symlink_to("thesis")
    with pytest.raises(OSError, match="symbolic link"), locked(tmp_path):
        pass
    assert (tmp_path / "thesis").read_text() == "mine"


def test_checkpoint_round_trip_and_replacement(tmp_path):
    path = tmp_path / "checkpoint"
    arrays = {"a": jnp.arange(3), "b": [jnp.ones((2, 2)), None, ()]}
    checkpoint.save(path, {"params": arrays}, {"kind": "test"})
    arrays = {"a": jnp.arange(3) + 1, "b": [jnp.zeros((2, 2)), None, ()]}
    checkpoint.save(path, {"params": arrays, "more": {"x": jnp.ones(())}}, {"kind": "test again"})
    like = {
        "a": jax.ShapeDtypeStruct((3,), jnp.int32),
        "b": [jax.ShapeDtypeStruct((2, 2), jnp.float32), None, ()],
    }
    restored = checkpoint.restore(path, "params", like)
    assert restored["a"].tolist() == [1, 2, 3]
    assert restored["b"][1:] == [None, ()]
    assert read_metadata(path) == {"kind": "test again"}
    assert [checkpoint.has(path, item) for item in ("params", "more", "less")] == [True, True, False]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_reading_a_checkpoint_syncs_nothing_and_hashes_what_a_checksum_names(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, {"params": {"a": jnp.arange(3)}, "more": {"x": jnp.ones(())}}, {})
    (path / "params" / "added").write_text("by somebody")
    named = json.loads((path / "checksums.json").read_text())
    file_digest, hashed = hashlib.file_digest, []

    def note(stream, algorithm):
        hashed.append(Path(stream.name).relative_to(path).as_posix())
        return file_digest(stream, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", note)
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("a file is synced by reading"))
    checkpoint.verify(path)
    assert sorted(hashed) == sorted(named)
    hashed.clear()
    checkpoint.verify(path, "params")
    assert sorted(hashed) == sorted(name for name in named if not name.startswith("more/"))


def test_checkpoint_refusals_name_what_is_wrong(tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.raises(UserError, match="no such folder"):
        read_metadata(path)
    path.mkdir()
    with pytest.raises(UserError, match=r"metadata\.json"):
        read_metadata(path)
    checkpoint.save(path, {"params": {"a": jnp.arange(3), "c": jnp.ones(2)}}, {})
    like = {"a": jax.ShapeDtypeStruct((4,), jnp.int32), "b": jax.ShapeDtypeStruct((), jnp.bool_)}
    message = (
        r"array a is int32\[3\], but int32\[4\] is needed; b is absent, but bool\[\] is needed; "
        r"c is float32\[2\], but none is needed"
    )
    with pytest.raises(UserError, match=message):
        checkpoint.restore(path, "params", like)
    with pytest.raises(UserError, match="contains no training"):
        checkpoint.restore(path, "training", like)
    for file in (path / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(b"junk")
    with pytest.raises(UserError, match="damaged"):
        checkpoint.restore(path, "params", like)
    (path / "checksums.json").unlink()
    with pytest.raises(UserError, match="params cannot be restored"):
        checkpoint.restore(path, "params", like)
    (path / "metadata.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="object"):
        read_metadata(path)


def test_a_record_holds_no_secret_of_the_environment(make_run, monkeypatch):
    secret = "0123456789abcdef" * 3
    for name in ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, secret)
    config = config_of(OnlineConfig)
    with make_run() as run:
        run.open(config)
        run.finish(config)
    record = (run.folder / "run.json").read_text()
    assert json.loads(record)["seed"] == config.seed
    assert secret not in record


class Exploit:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_nothing_that_is_read_can_run(tmp_path):
    """A pickle in the place of any file of a checkpoint is refused, and never unpickled."""
    proof = tmp_path / "ran"
    pickled = pickle.dumps(Exploit(proof))
    path = tmp_path / "checkpoint"
    files = [
        "metadata.json",
        "checksums.json",
        *("params/" + name for name in ("_METADATA", "manifest.ocdbt")),
    ]
    for name in files:
        checkpoint.save(path, {"params": {"a": jnp.arange(3)}}, {})
        if name != "checksums.json":
            (path / "checksums.json").unlink()
        (path / name).write_bytes(pickled)
        with pytest.raises(UserError, match=r"checkpoint .*checkpoint: "):
            read_metadata(path), checkpoint.restore(path, "params", {"a": jnp.arange(3)})
    np.savez(tmp_path / "trajectories.npz", obs=np.array([Exploit(proof)], object))
    with pytest.raises(ValueError, match="allow_pickle"), np.load(tmp_path / "trajectories.npz") as arrays:
        arrays["obs"]
    assert not proof.exists()
    pickle.loads(pickled)
    assert proof.exists()


# --- going on from a finished run ---


def finished(make_run, num_updates=7, **keys):
    run = make_run(name="finished")
    [trained], _ = train(counting(num_updates, **keys), 0, run)
    path = run.folder / "checkpoint"
    checkpoint.save(path, {"params": trained.params, **trained.items()}, {"update_step": num_updates})
    return path


def test_a_finished_run_is_extended_as_if_it_had_never_ended(make_run):
    path = finished(make_run, shift=0.5)
    run = make_run(name="more")
    [trained], _ = train(counting(10, shift=0.5), 0, run, start=Start(path, 7, whole=True))
    whole = make_run(name="whole")
    [expected], _ = train(counting(10, shift=0.5), 0, whole)
    assert trained.params == expected.params
    tables = [read_metrics(r.folder) for r in (run, whole)]
    assert tables[0].drop("val/score").equals(tables[1].filter(pl.col("update") > 7).drop("val/score"))
    # What the new run is given counts, not what the old one was.
    [other], _ = train(counting(10, shift=2.0), 0, make_run(name="other"), start=Start(path, 7, whole=True))
    assert other.items()["training"].algorithm.shift is None
    assert pl.read_parquet(run.folder / "metrics.parquet")["held"].to_list() == [7.5, 8.5, 9.5]


@struct.dataclass
class Remembered:
    n: jax.Array
    buffer: Annotated[CircularBuffer, Role.REFILLABLE]


def remembering(num_updates, asked, item=0):
    """Every update remembers its number twice, in a buffer as large as asked or as all that there will be."""

    def update(state):
        n = state.n + 1
        return Remembered(n, insert(state.buffer, jnp.stack([n, n]))), {"n": n}

    return Algorithm(
        init=lambda key: Remembered(
            jnp.zeros((), jnp.int32), empty(min(asked, 2 * num_updates), jnp.asarray(item))
        ),
        update=update,
        params=lambda state: {"n": state.n},
        adopt=lambda state, params, update: state,
        num_updates=num_updates,
        frames_per_update=10,
    )


def test_a_longer_run_goes_on_with_a_shorter_runs_buffer(make_run):
    """It has more room and is filled in order, as if the run had always been that long."""
    short = make_run(name="short")
    [trained], _ = train(remembering(3, asked=100), 0, short)
    path = short.folder / "checkpoint"
    checkpoint.save(path, {"params": trained.params, **trained.items()}, {})
    for asked in (100, 8):  # room for all, and the oldest overwritten
        start = Start(path, 3, whole=True)
        [more], _ = train(remembering(5, asked), 0, make_run(name=f"more{asked}"), start=start)
        [whole], _ = train(remembering(5, asked), 0, make_run(name=f"whole{asked}"))
        buffers = [result.items()["buffer"]["buffer"] for result in (more, whole)]
        assert buffers[0].items.tolist() == buffers[1].items.tolist()
        assert (buffers[0].next, buffers[0].size) == (buffers[1].next, buffers[1].size)
        assert sorted(buffers[1].items.tolist()) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5][-asked:]
    # A buffer that is too small for what was saved, or of other items, is refused.
    for other, message in (
        (remembering(5, asked=5), r"items is int32\[6\], but int32\[5\] is needed"),
        (remembering(5, asked=100, item=0.5), r"items is int32\[6\], but float32\[6\] is needed"),
        (remembering(5, asked=100, item=[0, 0]), r"items is int32\[6\], but int32\[6, 2\] is needed"),
    ):
        with pytest.raises(UserError, match=message):
            train(other, 0, make_run(name="other"), start=Start(path, 3, whole=True))


@pytest.mark.slow
def test_another_step_or_weights_alone_move_the_counters(make_run):
    """DAgger: beta and the learning rate are those of the step that is asked for.

    Adam's own count is that of its moments: steps after a start from weights alone are no larger.
    """
    config = config_of(OnlineConfig, online_total_timesteps=8 * 16 * 6, val_interval=100)
    algorithm = make_online(config, toy_env(8), toy_env(8), toy_expert())
    [trained], _ = train(algorithm, 0, make_run(name="finished"))
    path = make_run(name="finished").folder / "checkpoint"
    checkpoint.save(path, {"params": trained.params, **trained.items()}, {})
    steps = config.grad_steps_per_update
    for name, whole in (("whole", True), ("weights", False)):
        run = make_run(name=name)
        [more], _ = train(algorithm, 0, run, start=Start(path, 5, whole))
        table = pl.read_parquet(run.folder / "metrics.parquet")
        assert table["update"].to_list() == [6]
        assert table["dagger/beta"][0] == pytest.approx(config.beta_decay**5)
        [adam, _, schedule] = more.items()["training"].algorithm.learner.opt_state[1]
        assert int(schedule.count) == 6 * steps
        assert int(adam.count) == (7 if whole else 1) * steps
    # A warm start has its weights, and nothing behind it.
    state = first_state(algorithm, jax.random.PRNGKey(3), Start(path, 0, whole=False))
    jax.tree.map(np.testing.assert_array_equal, algorithm.params(state.algorithm), trained.params)
    assert state.update == state.algorithm.update == 0
    repeats = repeated(algorithm, 2)
    state = first_state(repeats, jax.random.PRNGKey(3), Start(path, 0, whole=False))
    for k in range(2):
        own = jax.tree.map(lambda x, k=k: x[k], repeats.params(state.algorithm))
        jax.tree.map(np.testing.assert_array_equal, own, trained.params)


def test_another_optimiser_or_width_is_refused_by_name(make_run):
    path = finished(make_run)
    other = config_of(OnlineConfig, online_total_timesteps=8 * 16 * 8)
    algorithm = make_online(other, toy_env(8), toy_env(8), toy_expert())
    with pytest.raises(UserError, match=r"array .* is absent, but .* is needed"):
        train(algorithm, 0, make_run(name="more"), start=Start(path, 7, whole=True))


def test_cosine_schedule_by_hand():
    schedule = cosine_schedule(1.0, total_steps=110, warmup_steps=10)
    assert [float(schedule(step)) for step in (0, 5, 10)] == pytest.approx([0.0, 0.5, 1.0])
    # Half-way down the cosine: 0.1 + 0.9 * 0.5; at the end a tenth.
    assert float(schedule(60)) == pytest.approx(0.55)
    assert float(schedule(110)) == pytest.approx(0.1)
    assert float(cosine_schedule(2.0, 100, 0)(0)) == 2.0


def test_adamw_clips_and_without_decay_is_adam():
    params = {"w": jnp.ones(4)}
    optimizer = adamw(0.1, max_grad_norm=1.0)
    state = optimizer.init(params)
    grads = {"w": jnp.full(4, 100.0)}
    updates, _ = optimizer.update(grads, state, params)
    # The first step of Adam is lr * g / (|g| + eps), with g clipped to norm 1, that is 0.5 each.
    assert np.asarray(updates["w"]) == pytest.approx(-0.1 * 0.5 / (0.5 + 1e-5), rel=1e-5)
    decayed, _ = adamw(0.1, 1.0, weight_decay=0.5).update(grads, state, params)
    assert np.asarray(decayed["w"] - updates["w"]) == pytest.approx(-0.1 * 0.5, rel=1e-4)


def test_muon_orthogonalises_some_matrices_and_leaves_the_rest_to_adam():
    params = {"hidden": jnp.ones((8, 2, 2)), "other": jnp.ones((8, 4))}
    axes = {"hidden": MuonDimensionNumbers((0,), (1, 2)), "other": None}
    optimizer = muon_adamw(0.1, 1e6, 0.0, lambda tree: axes)
    grads = jax.tree.map(lambda x: jax.random.normal(jax.random.PRNGKey(0), x.shape), params)
    updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
    # Each singular value goes through the polynomials, from its share of the Frobenius norm; were all 1 then,
    # the root mean square would be 0.2 times the learning rate. The directions are the gradient's, downhill.
    left, values, right = np.linalg.svd(grads["hidden"].reshape(8, 4), full_matrices=False)
    values /= np.linalg.norm(values)
    for linear, cubic, quintic in POLAR_EXPRESS:
        values = linear * values + cubic * values**3 + quintic * values**5
    assert values.min() > 0.25
    assert values.max() < 1.9
    expected = -0.1 * 0.2 * np.sqrt(8) * left * values @ right
    assert updates["hidden"].reshape(8, 4) == pytest.approx(expected, abs=1e-4)
    # Adam with the momentum of Nesterov: of the first step alike, and somewhat longer.
    steps = np.asarray(updates["other"]) / -np.sign(grads["other"])
    assert steps == pytest.approx(np.full((8, 4), steps[0, 0]), rel=1e-3)
    assert 0.1 <= steps[0, 0] < 0.2
    # A schedule goes on where it was, and the moments keep their own counts.
    scheduled = muon_adamw(cosine_schedule(0.1, 10, 0), 1.0, 0.0, lambda tree: axes).init(params)
    counts = [int(x) for x in jax.tree.leaves(at_step(scheduled, 7)) if x.ndim == 0]
    assert sorted(counts) == [0, 0, 7, 7]


def test_a_leaf_has_the_roles_of_all_that_it_is_within():
    state = TrainState(
        algorithm=Count(jnp.zeros(()), jnp.zeros(()), (optax.EmptyState(), None, {"x": jnp.zeros(2)}), 0.0),
        update=0, val_key=0, best_score=0, best_update=0, best_params=0,
    )  # fmt: skip
    roles = roles_of(state)
    # Of the same structure, nodes without children included: the two are mapped side by side.
    assert jax.tree.structure(roles) == jax.tree.structure(state)
    assert roles.algorithm.shift[2]["x"] == {Role.GIVEN}
    assert roles.algorithm.held == {Role.REFILLABLE}
    assert roles.algorithm.draw == roles.update == frozenset()
    assert fields_with(state.algorithm, Role.GIVEN, Role.REFILLABLE) == ("held", "shift")
