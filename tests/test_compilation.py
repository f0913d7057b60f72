"""The cache of compiled programs: its size, and what becomes of an entry that does not load."""

import os
import subprocess
import sys

import pytest

from remdm.stages import compilation
from tests.conftest import REPOSITORY
from tests.filesystems import mounted

TWICE = """
import sys, zlib
from pathlib import Path
import jax
from remdm.stages.compilation import use_cache

cache = Path(sys.argv[1])
use_cache(str(cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
double = jax.jit(lambda x: 2 * x)
double(3.0)
[entry] = cache.glob("jit__lambda-*-cache")
whole = entry.read_bytes()
entry.write_bytes(eval(sys.argv[2]))
jax.clear_caches()
assert double(3.0) == 6.0
assert len(entry.read_bytes()) > len(whole) // 2
"""


@pytest.mark.parametrize("damage", ["whole[:100]", "zlib.compress(bytes(99))"])
def test_an_entry_that_does_not_load_is_replaced(damage, tmp_path):
    command = [sys.executable, "-c", TWICE, str(tmp_path), damage]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (f"compilation cache {tmp_path}: jit__lambda does not load and is compiled again\n")


ONCE = """
import sys
import jax
from remdm.stages.compilation import use_cache

use_cache(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print([int(jax.jit(f)(3)) for f in (lambda x: 2 * x, lambda x: 5 * x, lambda x: 7 * x)])
"""


@pytest.mark.parametrize("problem", ["a file in its place", "read-only", "full"])
def test_a_cache_that_cannot_be_written_is_said_once(problem, tmp_path):
    """As of a user without a home, or whose home is full."""
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", ONCE, str(cache)]
    if problem == "a file in its place":
        cache.touch()
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    else:
        cache.mkdir()
        options = "ro" if problem == "read-only" else "size=4k"
        fill = f"dd if=/dev/zero of={cache}/filler bs=4k count=1 2>/dev/null"
        mounts = f"mount -t tmpfs -o {options} none {cache}" + (f"; {fill}" if problem == "full" else "")
        done = mounted(mounts, command, cwd=REPOSITORY)
    assert done.stdout == "[6, 15, 21]\n", done.stderr
    [message] = done.stderr.splitlines()
    reason = {"read-only": "Read-only file system", "full": "No space left on device"}.get(
        problem, "File exists"
    )
    assert message.startswith(f"compilation cache {cache}: cannot be ")
    assert reason in message
    assert message.endswith("so nothing is cached; name another folder by compilation_cache_dir")


def test_the_entries_used_longest_ago_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "LARGEST", 25)
    monkeypatch.setattr("jax.config.update", lambda key, value: None)
    for age in (3, 1, 2):
        entry = tmp_path / f"jit_{age}-00-cache"
        entry.write_bytes(bytes(10))
        os.utime(entry, (1e9 - age, 1e9 + age))
    (tmp_path / "mine.txt").write_bytes(bytes(100))
    compilation.use_cache(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"jit_1-00-cache", "jit_2-00-cache", "mine.txt"}
