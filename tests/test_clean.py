"""What runs leave beside their results is listed, and removed where it is named."""

import os
import re
import time

import pytest

from remdm.base.state import STATE, note_results
from remdm.cli import main
from remdm.training.lock import locked


@pytest.fixture(autouse=True)
def left(tmp_path, monkeypatch):
    """A state of 5 MB that is two days old, another one, a log, a cache; and results."""
    monkeypatch.chdir(tmp_path)
    for folder in ("state/new", "state/old/snapshots", "logs/game", "results/.cache", "results/game"):
        (tmp_path / folder).mkdir(parents=True)
    note_results(STATE / "old", tmp_path / "runs" / "mine")
    (tmp_path / "state/old/snapshots/1").write_bytes(bytes(5 * 10**6))
    ago = time.time() - 2 * 24 * 3600
    for place in (*(tmp_path / "state/old").rglob("*"), tmp_path / "state/old"):
        os.utime(place, (ago, ago))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "thesis")


def listed(capsys):
    assert main(["clean"]) == 0
    return [re.sub(r"\s+", " ", line).strip() for line in capsys.readouterr().out.splitlines()]


def test_states_logs_and_caches_are_listed_with_size_and_age(capsys):
    assert listed(capsys) == [
        "0.0 MB 0.0 days state/new state",
        "5.0 MB 2.0 days state/old state of a run that has not finished runs/mine",
        "0.0 MB 0.0 days logs/game logs",
        "0.0 MB 0.0 days logs/link logs",
        "0.0 MB 0.0 days results/.cache compiled programs",
    ]


def test_what_is_named_is_removed_and_nothing_else(capsys, tmp_path):
    assert main(["clean", "state/old", "state/old/", "logs/link", "results/.cache"]) == 0
    assert [line.split()[4] for line in listed(capsys)] == ["state/new", "logs/game"]
    assert (tmp_path / "thesis").is_dir()
    assert (tmp_path / "results/game").is_dir()


def test_what_is_not_listed_or_in_use_is_refused_and_nothing_removed(capsys):
    for path in ("results/game", "state", ".", "/", "state/../results/game", "state/odl"):
        assert main(["clean", "state/new", path]) == 2
        assert "is not listed by `remdm clean`" in capsys.readouterr().err
    with locked(STATE / "old"):
        assert main(["clean", "state/new", "state/old"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: state/old: in use by process {os.getpid()} on ")
    assert error.count("\n") == 1
    assert {"state/new", "state/old"} <= {line.split()[4] for line in listed(capsys)}
