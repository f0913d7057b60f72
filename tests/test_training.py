"""The loop, its resume, checkpoints and metrics, on an algorithm whose every state is known."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from remdm.config.base import UserError
from remdm.planners.online import make_online
from remdm.training import checkpoint, loop
from remdm.training.algorithm import Algorithm
from remdm.training.loop import train
from remdm.training.metrics import MetricsTable, to_rows
from remdm.training.optimizer import adamw, cosine_schedule
from tests.test_planners import OnlineConfig, config_of
from tests.toy import toy_env, toy_expert


def counting(num_updates=7, val_every=3, diverge_at=None, score=lambda n: -jnp.abs(n - 4.0)):
    """Counts its updates; validation prefers a count of 4."""

    def update(n):
        n = n + 1
        loss = jnp.where(n == (diverge_at or -1), jnp.nan, n.astype(jnp.float32))
        return n, {"loss": loss, "gap": jnp.where(n % 2 == 0, jnp.nan, 1.0)}

    return Algorithm(
        init=lambda key: jnp.zeros((), jnp.int32),
        update=update,
        params=lambda n: {"n": n},
        num_updates=num_updates,
        frames_per_update=10,
        validate=lambda key, n: {"val/score": score(n)},
        val_every=val_every,
    )


@pytest.mark.parametrize("chunk_updates", [1, 2, 100])
def test_rows_validation_and_best_do_not_depend_on_chunks(make_run, chunk_updates):
    run = make_run(chunk_updates=chunk_updates)
    trained = train(counting(), 0, run)
    assert trained.params["n"] == 7
    # Validated after 3, 6 and at the end; of those, 3 is nearest 4.
    assert trained.best_params["n"] == 3
    table = pl.read_parquet(run.folder / "metrics.parquet")
    assert table["update"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table["frames"].to_list() == [10, 20, 30, 40, 50, 60, 70]
    assert table["loss"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table["val/score"].to_list() == [None, None, -1, None, None, -2, -3]
    # A mean over no episode is a gap, never a zero.
    assert table["gap"].to_list() == [1, None, 1, None, 1, None, 1]


def test_one_compilation_whatever_the_chunks_length(make_run, monkeypatch):
    traces = []
    algorithm = counting(val_every=4)
    original = algorithm.update
    object.__setattr__(algorithm, "update", lambda n: (traces.append(1), original(n))[1])
    train(algorithm, 0, make_run(chunk_updates=3))
    # Once for the shapes of the metrics and once to compile, for chunks of 3, 1 and 3 updates.
    assert len(traces) == 2


def test_a_loss_that_is_not_finite_stops_the_run(make_run):
    with pytest.raises(UserError, match=r"update 5: loss = nan"):
        train(counting(diverge_at=5), 0, make_run(chunk_updates=2))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kill_after", [1, 2])
def test_resumed_dagger_equals_an_uninterrupted_run(make_run, monkeypatch, kill_after):
    """Parameters, best parameters and metrics, bit for bit; buffer, games and optimiser among the state."""
    config = config_of(OnlineConfig, online_total_timesteps=8 * 16 * 6, val_interval=2)
    algorithm = make_online(config, toy_env(8), toy_env(8), toy_expert())
    whole_run = make_run(name="whole", chunk_updates=2)
    whole = train(algorithm, 0, whole_run)

    save, saved = checkpoint.save, []

    def save_then_die(path, arrays, metadata):
        save(path, arrays, metadata)
        saved.append(metadata["update"])
        if len(saved) == kill_after:
            raise Killed

    run = make_run(name="killed", chunk_updates=2, checkpoint_every_minutes=1e-9)
    monkeypatch.setattr(loop.checkpoint, "save", save_then_die)
    with pytest.raises(Killed):
        train(algorithm, 0, run)
    assert saved[-1] == 2 * kill_after
    # Rows written after the last save are written again, not twice.
    MetricsTable(run.state / "metrics").write(to_rows({"loss": np.zeros(3)}, 5, 1))

    monkeypatch.setattr(loop.checkpoint, "save", save)
    resumed = train(algorithm, 0, run)
    for name in ("params", "best_params"):
        jax.tree.map(np.testing.assert_array_equal, getattr(whole, name), getattr(resumed, name))
    expected = pl.read_parquet(whole_run.folder / "metrics.parquet")
    assert expected["update"].to_list() == list(range(1, 7))
    assert pl.read_parquet(run.folder / "metrics.parquet").equals(expected)


def test_checkpoint_round_trip_and_replacement(tmp_path):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, {"a": jnp.arange(3), "b": [jnp.ones((2, 2))]}, {"kind": "test"})
    checkpoint.save(path, {"a": jnp.arange(3) + 1, "b": [jnp.zeros((2, 2))]}, {"kind": "test again"})
    like = {"a": jax.ShapeDtypeStruct((3,), jnp.int32), "b": [jax.ShapeDtypeStruct((2, 2), jnp.float32)]}
    arrays = checkpoint.restore(path, like)
    assert arrays["a"].tolist() == [1, 2, 3]
    assert checkpoint.read_metadata(path) == {"kind": "test again"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_checkpoint_refusals_name_what_is_wrong(tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.raises(UserError, match="no such folder"):
        checkpoint.read_metadata(path)
    path.mkdir()
    with pytest.raises(UserError, match=r"metadata\.json"):
        checkpoint.read_metadata(path)
    checkpoint.save(path, {"a": jnp.arange(3)}, {})
    with pytest.raises(UserError, match=r"array \['a'\] is int32\[3\], but int32\[4\] is needed"):
        checkpoint.restore(path, {"a": jax.ShapeDtypeStruct((4,), jnp.int32)})
    (path / "metadata.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="object"):
        checkpoint.read_metadata(path)


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, {"a": jnp.arange(3)}, {"n": 1})
    with pytest.raises(TypeError):
        checkpoint.save(path, {"a": jnp.arange(4)}, {"n": object()})
    assert checkpoint.read_metadata(path) == {"n": 1}


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
