"""An `.npz` that somebody made to do harm: one line, exit status 2, no memory for what it claims."""

import io
import json
import os
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

import remdm
from remdm import cli
from remdm.analysis.film import Film
from remdm.base import arrays
from remdm.base.errors import UserError
from remdm.base.trajectory_file import DTYPES

ROOM = 2**20  # bytes that may be taken for what unpacks to 16 times that
SAID = {"dones": "after_action", "env_name": "game", "num_envs": 2, "num_steps": 3, "seed": 0,
        "expert_digest": None, "remdm_version": "0"}  # fmt: skip


def npy(shape, dtype="<f4", held=b""):
    """The bytes of an array that says it has a shape, and those that follow."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_2_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + held


def write(path, method=zipfile.ZIP_DEFLATED, claim=None, **other):
    """A file of trajectories, one of whose arrays, or its metadata, is other bytes."""
    entries = {name: npy((2, 3), np.dtype(dtype).str, bytes(6 * np.dtype(dtype).itemsize))
               for name, dtype in DTYPES.items()}  # fmt: skip
    entries["obs"] = npy((2, 3, 5), held=bytes(120))
    text = np.array(json.dumps(SAID))
    entries["metadata"] = npy((), text.dtype.str, text.tobytes())
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in (entries | other).items():
            archive.writestr(f"{name}.npy", content)
        if claim is not None:  # by the directory at the end
            archive.getinfo("obs.npy").file_size = claim


ZEROS = bytes(16 * ROOM)
MANY = npy((2, 3, len(ZEROS) // 24), held=ZEROS)
BOMBS = {
    "a header without its data": ({"obs": npy((2, 3, 10**12))}, "declares .* bytes, but 0 follow"),
    "a header beyond 64 bits": ({"obs": npy((2**40, 2**40, 2**40))}, "declares"),
    "text of no length": ({"obs": npy((10**12,), "<U0")}, "declares"),
    "letters of two gigabytes": ({"obs": npy((), "<U500000000")}, "declares"),
    "more than it says": ({"obs": npy((2, 3, 5), held=ZEROS)}, "unpack to"),
    "as much as it says": ({"obs": MANY}, "unpack to"),
    "the same in bzip2": ({"obs": MANY, "method": zipfile.ZIP_BZIP2}, "another method than deflate"),
    "the same in lzma": ({"obs": MANY, "method": zipfile.ZIP_LZMA}, "another method than deflate"),
    "the same, said to be short": ({"obs": MANY, "claim": 400}, "obs cannot be read"),
    "an entry that nobody reads": ({"more": ZEROS}, "unpack to"),
    "metadata": ({"metadata": npy((), f"<U{len(ZEROS) // 4}", ZEROS)}, "unpack to"),
    "a format of tomorrow": ({"obs": b"\x93NUMPY\x09\x00"}, "format"),
}  # fmt: skip


@pytest.fixture
def little_memory(monkeypatch):
    """A block that takes little memory, where little is allowed."""
    monkeypatch.setattr(arrays, "UNPACKED_BYTES", ROOM)

    @contextmanager
    def watched():
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < 4 * ROOM
        finally:
            tracemalloc.stop()

    return watched


@pytest.mark.parametrize(("crafted", "reason"), BOMBS.values(), ids=BOMBS)
def test_arrays_that_take_more_memory_than_they_may_are_refused(crafted, reason, tmp_path, little_memory):
    path = tmp_path / "trajectories.npz"
    write(path)
    assert remdm.load_trajectories(path).obs.shape == (2, 3, 5)
    write(path, **crafted)
    with little_memory(), pytest.raises(UserError, match=rf"^{path}: .*{reason}"):
        remdm.load_trajectories(path)


def test_metadata_is_no_longer_than_other_json(tmp_path):
    write(tmp_path / "long.npz", metadata=npy((), "<U1500000", bytes(6_000_000)))
    with pytest.raises(UserError, match=r"metadata has .* bytes, more than 4,194,304"):
        remdm.load_trajectories(tmp_path / "long.npz")


def test_films_are_bounded_too(tmp_path, little_memory, capsys):
    """And so is whatever else the analysis reads of numpy."""
    for crafted in ({Film._fields[0]: MANY}, {Film._fields[0]: npy((10**12,))}):
        write(tmp_path / "film.npz", **crafted)
        with little_memory():
            assert cli.main(["view", str(tmp_path / "film.npz")]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {tmp_path / 'film.npz'}: is no whole npz file (")


@pytest.mark.parametrize("what", ["device", "pipe"])
def test_what_is_no_file_is_not_read(what, tmp_path):
    path = tmp_path / "trajectories.npz"
    path.symlink_to("/dev/zero") if what == "device" else os.mkfifo(path)
    with pytest.raises(UserError, match=r"cannot be read \(is no regular file\)"):
        remdm.load_trajectories(path)


def test_all_that_numpy_writes_is_read(tmp_path):
    written = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array("text"), "c": np.zeros((0, 4), bool)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "all.npz", **written)
        read = arrays.read_npz(tmp_path / "all.npz")
        assert all((read[name] == array).all() for name, array in written.items())
        assert list(arrays.read_npz(tmp_path / "all.npz", ["b"])) == ["b"]
