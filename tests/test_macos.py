"""What macOS lacks or counts otherwise, as far as another system can show it."""

import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from remdm.base import machine
from tests.conftest import REPOSITORY

# Of Linux alone, by the library reference; there are more, which nobody would use here.
LINUX_ONLY = {
    "os": (
        "sched_getaffinity sched_setaffinity sched_getscheduler sched_getparam memfd_create eventfd "
        "pidfd_open posix_fadvise posix_fallocate copy_file_range splice getrandom fdatasync pipe2 "
        "getresuid getresgid setresuid getxattr setxattr listxattr removexattr unshare setns O_DIRECT "
        "O_PATH O_NOATIME"
    ),
    "signal": "SIGRTMIN SIGRTMAX SIGPOLL SIGPWR SIGSTKFLT SIGCLD sigtimedwait sigwaitinfo",
    "resource": "prlimit RUSAGE_THREAD RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_RTPRIO RLIMIT_NICE",
    "fcntl": "F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_NOTIFY",
    "select": "epoll",
}
# Modules are imported twice: the first time brings in other packages, which know their system.
ON_A_MAC = f"""
import importlib, pkgutil, resource, sys
from pathlib import Path
import remdm
names = [module.name for module in pkgutil.walk_packages(remdm.__path__, "remdm.")]
for name in names:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.split(".")[0] == "remdm"]:
    del sys.modules[name]
for module, attributes in {LINUX_ONLY}.items():
    module = importlib.import_module(module)
    for attribute in attributes.split():
        if hasattr(module, attribute):
            delattr(module, attribute)
exists = Path.exists
Path.exists = lambda path, **how: not str(path).startswith(("/proc", "/sys")) and exists(path, **how)
sys.platform = "darwin"
for name in names:
    importlib.import_module(name)

from remdm.base.machine import gpu_for_jax, process_peak_memory, shared_resources
from remdm.training.interruption import Interruption
from remdm.training.lock import locked
assert gpu_for_jax() is None
assert process_peak_memory() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert shared_resources()["mem_mb"] > 0
with locked(Path("run")), Interruption(None) as interruption:
    assert interruption.reason(0.0) is None
print(len(names))
"""


def test_nothing_of_linux_alone_is_needed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ON_A_MAC],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 150


@pytest.mark.parametrize(("platform", "counted"), [("linux", 2048), ("darwin", 2048 * 1024)])
def test_peak_memory_is_in_bytes_whatever_the_system_counts(platform, counted, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda whose: SimpleNamespace(ru_maxrss=counted))
    assert machine.process_peak_memory() == 2 * 2**20


def test_no_two_files_have_names_that_differ_by_case_alone():
    """Which macOS would take for one file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    assert len({name.casefold() for name in listed}) == len(listed) > 100
