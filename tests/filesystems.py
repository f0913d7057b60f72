"""What a run does with a folder, in a process of its own, on file systems that are odd, small or read-only.

    python -m tests.filesystems FOLDER [checkpoint]     # prints a line for each thing it does

`faulty` starts it where the C library says what such file systems say; `mounted` where they are.
"""

import logging
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from remdm.base.errors import UserError, problem_of
from remdm.base.files import missing_feature, move, write_json
from remdm.base.state import keep_results, note_results, noted_results, restore_results
from remdm.training.lock import locked
from tests.conftest import REPOSITORY

CHECK = [sys.executable, "-P", "-m", "tests.filesystems"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@cache
def library():
    """`faults.c`, compiled."""
    path = REPOSITORY / ".tests-cache" / f"faults-{os.getpid()}.so"
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("faults of file systems need a C compiler and Linux")
    path.parent.mkdir(exist_ok=True)
    source = REPOSITORY / "tests" / "faults.c"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(path), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return path


def faulty(folder, faults, *more):
    """The lines of a process for which calls on files in a folder fail as given (`faults.c`)."""
    preload = {"LD_PRELOAD": str(library()), "FAULTS_UNDER": f"{folder}/", "FAULTS": faults}
    return _lines([*CHECK, str(folder), *more], ENVIRONMENT | preload)


def mounted(mounts, command, **options):
    """Run a command where file systems are mounted that nobody else sees, and that end with it."""
    own = ["unshare", "--map-root-user", "--mount", "--propagation", "private"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    script = f'set -e; {mounts}; cd "$PWD"; exec "$@"'  # else the folder would be that below a mount
    whole = [*own, "sh", "-c", script, "sh", *map(str, command)]
    return subprocess.run(whole, capture_output=True, text=True, env=ENVIRONMENT, **options)


def _lines(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines(), done.stderr.splitlines()


def _twice(folder):
    for value in (1, 2):
        write_json(folder / "file.json", value)
    assert (folder / "file.json").read_text() == "2\n"


def _lock(folder):
    with locked(folder / "run"), pytest.raises(UserError, match="in use by process"), locked(folder / "run"):
        pass
    with locked(folder / "run"):
        pass


def _keep(folder):
    state, results = folder / "state" / "digest", folder / "results" / "run"
    (results / "checkpoint").mkdir(parents=True)
    for name in ("checkpoint/array", "run.json"):
        (results / name).write_text(name)
    state.mkdir(parents=True)
    note_results(state, results)
    assert noted_results(state) == str(results)
    keep_results(state, results)
    shutil.rmtree(results)
    results.mkdir()
    assert restore_results(state, results, ("checkpoint", "run.json"))
    assert (results / "checkpoint" / "array").read_text() == "checkpoint/array"
    assert not any((folder / "state").iterdir())


def _move(folder):
    (folder / "from" / "deep").mkdir(parents=True)
    (folder / "results").mkdir(exist_ok=True)
    move(folder / "from", folder / "results" / "to")
    assert (folder / "results" / "to" / "deep").is_dir()
    assert not (folder / "from").exists()


def _save(folder):
    import numpy as np

    from remdm.training import checkpoint

    path = folder / "checkpoints" / "checkpoint"
    for value in (1, 2):
        checkpoint.save(path, {"params": {"a": np.full(300, value)}}, {})
        checkpoint.verify(path, needed=True)
        assert checkpoint.restore(path, "params", {"a": np.zeros(300, int)})["a"][0] == value


def check(folder, steps):
    """Do each thing and say how it went; nothing else may be left."""
    for step in steps:
        try:
            step(folder)
            print(f"{step.__name__[1:]}: done")
        except (OSError, UserError) as error:
            print(f"{step.__name__[1:]}: {problem_of(error) or repr(error)}")
    print("missing:", missing_feature(folder))
    left = [str(path) for path in folder.rglob(".*") if "ocdbt" not in path.name]
    print("left:", *left)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    check(Path(sys.argv[1]), [_twice, _lock, _keep, _move] if len(sys.argv) == 2 else [_save])
