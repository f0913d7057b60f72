"""TensorBoard's event files: they say what the metrics say, and an error in them ends no training."""

import struct
import subprocess
import sys

import polars as pl
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

from remdm.base.errors import UserError
from remdm.training.loop import train
from remdm.training.tensorboard import EventFiles
from remdm.workflow.source import reachable
from tests.conftest import REPOSITORY
from tests.test_keys import config_of
from tests.test_training import counting


def checked(data, stored):
    """TFRecord's checksum (masked CRC-32C, tensorflow/core/lib/hash/crc32c.h) is that of the data."""
    crc = crc32c(data)
    return struct.unpack("<I", stored)[0] == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read(file):
    """The events of a file: a length, its checksum, the event and its checksum, each time."""
    data, events = file.read_bytes(), []
    while data:
        size = struct.unpack("<Q", data[:8])[0]
        assert checked(data[:8], data[8:12])
        assert checked(data[12 : 12 + size], data[12 + size : 16 + size])
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    return events[1:]


def shown(folder):
    """What TensorBoard shows: the rows by update, without those that a later file begins before."""
    rows = {}
    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime_ns):
        for event in read(file):
            if event.session_log.status == SessionLog.START:
                rows = {update: row for update, row in rows.items() if update < event.step}
            else:
                rows[event.step] = {value.tag: value.simple_value for value in event.summary.value}
    return rows


def trained(run, **keys):
    with run:
        run.open(config_of("online"))
        train(counting(**keys), 0, run)


def test_a_run_can_be_watched(make_run):
    run = make_run(use_tensorboard=True, chunk_updates=2)
    trained(run)
    table = pl.read_parquet(run.folder / "metrics.parquet")
    rows = shown(run.folder / "tensorboard")
    assert [*rows] == table["update"].to_list()
    for row in table.iter_rows(named=True):
        for name in {*row} - {"update", "seconds"}:
            if row[name] is not None:
                assert rows[row["update"]][name] == pytest.approx(row[name])
    assert rows[1]["train/sps"] > 0
    assert "update" not in rows[1]


def test_off_by_default(make_run):
    run = make_run()
    trained(run)
    assert not (run.folder / "tensorboard").exists()
    assert run.watchers == []


def test_a_resumed_run_repeats_no_update(tmp_path):
    rows = [{"update": update, "loss": float(update)} for update in range(1, 6)]
    # Saved after update 2 and killed after update 5; what runs again has come to update 4.
    for first, last, shift in ((0, 5, 0.0), (2, 4, 10.0)):
        events = EventFiles(tmp_path)
        events.log([row | {"loss": row["loss"] + shift} for row in rows[first:last]])
        assert len(shown(tmp_path)) == last  # it is there before the file is closed
        events.close()
    assert {update: row["loss"] for update, row in shown(tmp_path).items()} == {1: 1, 2: 2, 3: 13, 4: 14}


def test_a_disk_that_takes_nothing_is_one_line(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    events = EventFiles(tmp_path / "file" / "tensorboard")
    events.log([{"update": 1, "loss": 1.0}])
    events.log([{"update": 2, "loss": 1.0}])
    events.close()
    [line] = caplog.messages
    assert line.endswith("cannot be written, training continues (Not a directory)")


def test_a_missing_package_is_one_line_before_training(make_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with make_run(use_tensorboard=True) as run, pytest.raises(UserError, match="uv sync --extra tensorboard"):
        run.open(config_of("online"))


def test_the_package_is_imported_when_it_is_asked_for():
    code = "import sys, remdm.training.tensorboard; assert 'tensorboardX' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_watching_makes_nothing_stale():
    modules = {
        path.relative_to(REPOSITORY).as_posix() for path in reachable(REPOSITORY / "remdm/stages/ppo.py")
    }
    assert "remdm/training/run.py" in modules
    assert "remdm/training/tensorboard.py" not in modules
    assert "use_tensorboard" not in config_of("ppo").recorded()
