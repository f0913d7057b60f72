"""A real Slurm of one node on this machine, for as long as a block lasts.

    python -m tests.slurm           # starts one, and stops it on Ctrl-C

Needs root and Debian's packages slurm-wlm, slurm-client and munge; nothing of it outlives the block.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "sbatch", "scancel")
# Where all programs look; jobs are stripped of SLURM_CONF, which could name another place.
SETTINGS = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PREFIX = "remdm-slurm-"  # of the folder that everything else lies in
CONFIGURATION = """\
ClusterName=onebox
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
EnforcePartLimits=ALL
ReturnToService=2
MinJobAge=3600
KillWait=5
JobRequeue=0
{types}
NodeName=localhost NodeAddr=127.0.0.1 {node} {gres} State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=60 DefaultTime=5 DefMemPerCPU=1000 State=UP
"""


def missing() -> str | None:
    """Why no Slurm can be started here; None where it can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm slurm-client munge)"
    for path in (SETTINGS / name for name in FILES):
        if os.path.lexists(path) and PREFIX not in str(path.readlink() if path.is_symlink() else path):
            return f"{path} is of a cluster that this machine belongs to"
    return None


@contextmanager
def cluster(gpus: bool = True) -> Iterator[Path]:
    """A node with a stand-in for one GPU, or without, and the partition `main`; yields its folder."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)  # munge wants its socket where everyone may go
    started: list[Path] = []
    try:
        with _settings(folder):
            _configure(folder, gpus)
            for name, command in _daemons(folder).items():
                subprocess.run(command, check=True, capture_output=True, text=True)
                started.append(folder / "run" / f"{name}.pid")
            _wait_until(lambda: _answer("sinfo", "-h", "-o", "%T") == "idle", "the node is idle", folder)
            try:
                yield folder
            finally:
                subprocess.run(["scancel", "--user", "root"], check=False)
                _wait_until(lambda: _answer("squeue", "-h") == "", "no job is left", folder)
    finally:
        for path in reversed(started):
            _stop(path)
        shutil.rmtree(folder)


def _configure(folder: Path, gpus: bool) -> None:
    for name in ("run", "state", "spool", "log", "dev", "key"):
        (folder / name).mkdir()
    (folder / "key").chmod(0o700)
    key = folder / "key" / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    subprocess.run(["mknod", folder / "dev" / "nvidia0", "c", "1", "3"], check=True)  # as /dev/null
    # "NodeName=... CPUs=2 Boards=1 ... RealMemory=...", without the name, on the first line.
    node = _answer("slurmd", "-C").splitlines()[0].split(maxsplit=1)[1]
    settings = folder / "settings"
    gres = {"types": "GresTypes=gpu", "gres": "Gres=gpu:1"} if gpus else {"types": "", "gres": ""}
    (settings / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, node=node, ports=_free_ports(2), **gres)
    )
    device = f"NodeName=localhost Name=gpu File={folder}/dev/nvidia0\n" if gpus else ""
    (settings / "gres.conf").write_text(device)
    (settings / "cgroup.conf").write_text("# none\n")


def _daemons(folder: Path) -> dict[str, list[str]]:
    run, log, key = folder / "run", folder / "log", folder / "key"
    munged = ["munged", f"--key-file={key}/munge.key", f"--socket={run}/munge.socket"]
    munged += [f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log", f"--seed-file={key}/seed"]
    return {"munged": munged, "slurmctld": ["slurmctld", "-c"], "slurmd": ["slurmd", "-c"]}


@contextmanager
def _settings(folder: Path) -> Iterator[None]:
    """Make the folder's `settings` those that Slurm's programs find; one at a time on a machine.

    Links that a killed run left behind are taken away; `missing` has seen that there is nothing else.
    """
    (folder / "settings").mkdir()
    SETTINGS.mkdir(exist_ok=True)
    lock = os.open(SETTINGS, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in FILES:
            (SETTINGS / name).unlink(missing_ok=True)
            (SETTINGS / name).symlink_to(folder / "settings" / name)
        try:
            yield
        finally:
            for name in FILES:
                (SETTINGS / name).unlink()
    finally:
        os.close(lock)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _wait_until(condition, what: str, folder: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(path.read_text()[-1000:] for path in (folder / "log").iterdir())
            raise TimeoutError(f"Slurm: waited in vain until {what}:\n{logs}")
        time.sleep(0.1)


def _stop(pid_file: Path) -> None:
    """End a daemon that was started here, by its own process id, and wait for it."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return  # it has ended
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    with cluster() as where:
        print(f"Slurm is up; its logs lie in {where}/log", flush=True)
        signal.pause()
