"""What runs leave beside their results: listed, removed where it is named, put back where it is whole."""

import os
import re
import shutil
import time

import pytest

from remdm.base.state import STATE, forget_results, keep_results, note_results, restore_results
from remdm.cli import main
from remdm.training.lock import locked


@pytest.fixture(autouse=True)
def left(tmp_path, monkeypatch):
    """A state of 5 MB that is two days old, another one, a log, a cache; and results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder in ("state/new", "state/old/snapshots", "logs/game", "cache/remdm", "results/game"):
        (tmp_path / folder).mkdir(parents=True)
    note_results(STATE / "old", tmp_path / "runs" / "mine")
    (tmp_path / "state/old/snapshots/1").write_bytes(bytes(5 * 10**6))
    ago = time.time() - 2 * 24 * 3600
    for place in (*(tmp_path / "state/old").rglob("*"), tmp_path / "state/old"):
        os.utime(place, (ago, ago))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "thesis")


def test_whole_results_are_kept_and_put_back(tmp_path):
    """Where Snakemake removes what it takes for incomplete."""
    results, state = tmp_path / "results/game", STATE / "new"
    for name in ("checkpoint/weights", "metrics.parquet", "curves.png", "run.json"):
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).write_text(name)
    names = ("checkpoint", "metrics.parquet", "run.json")
    assert not restore_results(state, results, names)
    keep_results(state, results)
    forget_results(state)
    assert not restore_results(state, results, names)
    keep_results(state, results)
    shutil.rmtree(results / "checkpoint")
    (results / "metrics.parquet").unlink()
    (results / "run.json").unlink()
    assert restore_results(state, results, names)
    assert (results / "checkpoint/weights").read_text() == "checkpoint/weights"
    assert (results / "run.json").read_text() == "run.json"
    assert not state.exists()


def listed(capsys):
    assert main(["clean"]) == 0
    return [re.sub(r"\s+", " ", line).strip() for line in capsys.readouterr().out.splitlines()]


def test_states_logs_and_caches_are_listed_with_size_and_age(capsys, tmp_path):
    assert listed(capsys) == [
        "0.0 MB 0.0 days state/new state",
        "5.0 MB 2.0 days state/old state of a run that has not finished runs/mine",
        "0.0 MB 0.0 days logs/game logs",
        "0.0 MB 0.0 days logs/link logs",
        f"0.0 MB 0.0 days {tmp_path}/cache/remdm compiled programs",
    ]


def test_what_is_named_is_removed_and_nothing_else(capsys, tmp_path):
    assert main(["clean", "state/old", "state/old/", "logs/link", str(tmp_path / "cache/remdm")]) == 0
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
