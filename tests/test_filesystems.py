"""File systems without locks or `fsync`, full, read-only or overlays: a run trains, or says why not."""

import errno
import subprocess
import sys

import pytest

from remdm.base.files import replace, write_json
from tests import kill
from tests.filesystems import CHECK, ENVIRONMENT, faulty, mounted
from tests.tiers import slow_except

ALL = ["twice: done", "lock: done", "keep: done", "move: done"]


def fail(**calls):
    return " ".join(f"{call}={number}" for call, number in calls.items())


# What the file system says, and what is missing of it.
ODD = {
    "all is well": ("", None),
    "Lustre without flock": (fail(flock=errno.ENOSYS, fcntl=errno.ENOSYS), "lock files"),
    "no lock daemon": (fail(flock=errno.ENOLCK, fcntl=errno.ENOLCK), "lock files"),
    "no locks": (fail(flock=errno.EOPNOTSUPP, fcntl=errno.EOPNOTSUPP), "lock files"),
    "nor links": (fail(flock=errno.EINVAL, fcntl=errno.EINVAL, link=errno.EPERM), "lock files"),
    "no fsync": (fail(fsync_file=errno.EINVAL, fsync_folder=errno.EINVAL), "force files to the disk"),
    "no fsync of folders": (fail(fsync_folder=errno.EINVAL), "force folders to the disk"),
    "fsync of folders fails": (fail(fsync_folder=errno.EIO), "force folders to the disk"),
    "folders may not be read": (fail(fsync_folder=errno.EACCES), "force folders to the disk"),
    "a rename replaces nothing": (fail(rename_over=errno.EEXIST), "replace a file by renaming"),
    "it may not": (fail(rename_over=errno.EPERM), "replace a file by renaming"),
}


FAST = ["all is well", "nor links", "no fsync", "fsync of folders fails", "a rename replaces nothing"]


@pytest.mark.parametrize("name", slow_except(ODD, FAST))
def test_an_odd_file_system_is_enough(name, tmp_path):
    faults, missing = ODD[name]
    lines, messages = faulty(tmp_path, faults)
    assert lines[:-2] == ALL
    assert lines[-2].startswith(f"missing: {missing}")
    assert lines[-1] == "left:"
    assert len(messages) == ("fsync" in faults), messages
    assert all("a power cut may lose what is new" in message for message in messages)


def test_a_folder_in_the_place_of_a_file_is_kept(tmp_path):
    """Nor is a file removed for a folder."""
    (tmp_path / "run.json").mkdir()
    (tmp_path / "run.json" / "thesis").write_text("mine")
    with pytest.raises(OSError, match="directory"):
        write_json(tmp_path / "run.json", 1)
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace(tmp_path / "run.json" / "thesis", tmp_path / "new")
    assert (tmp_path / "run.json" / "thesis").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "run.json"]


def test_a_file_that_does_not_reach_the_disk_is_an_error(tmp_path):
    lines, _ = faulty(tmp_path, fail(fsync_file=errno.EIO))
    assert f"twice: {tmp_path}/file.json: Input/output error" in lines
    assert not (tmp_path / "file.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "missing"), ODD.values(), ids=ODD)
def test_checkpoints_are_written_there_too(faults, missing, tmp_path):
    """Orbax needs locks, `fsync` and renames, so it writes elsewhere; this is said once for each folder."""
    lines, messages = faulty(tmp_path, faults, "checkpoint")
    assert lines[0] == "save: done"
    assert lines[-1] == "left:"
    told = [message for message in messages if "checkpoints are written to" in message]
    assert len(told) == (missing is not None), messages
    assert all(f"its file system cannot {missing} (" in message for message in told)


def test_results_may_be_on_another_device(tmp_path):
    """As where `results` is a link, or a mount, and the state is in the working folder."""
    (tmp_path / "results").mkdir()
    done = mounted(f"mount -t tmpfs none {tmp_path}/results", [*CHECK, tmp_path])
    assert done.stdout.splitlines()[:-2] == ALL, done.stderr


def layered(folder):
    """An overlay over `low` as `all`, as in a container: it renames no folder that is in `low` alone."""
    for name in ("low", "up", "work", "all"):
        (folder / name).mkdir(exist_ok=True)
    options = f"userxattr,lowerdir={folder}/low,upperdir={folder}/up,workdir={folder}/work"
    return f"mount -t overlay none -o {options} {folder}/all"


def test_what_is_in_an_image_is_replaced_and_removed(tmp_path):
    for name in ("old", "state/digest"):
        (tmp_path / "low" / name).mkdir(parents=True)
        (tmp_path / "low" / name / "file").write_text("of the image")
    code = """
import sys; from pathlib import Path
from remdm.base.files import move, replace
from remdm.base.state import remove_state
folder = Path(sys.argv[1])
try:
    (folder / "old").rename(folder / "older")
except OSError as error:
    print(error.strerror)
(folder / "new").mkdir()
replace(folder / "old", folder / "new")
remove_state(folder / "state" / "digest")
print(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
"""
    done = mounted(layered(tmp_path), [sys.executable, "-c", code, tmp_path / "all"])
    assert done.stdout.splitlines() == ["Invalid cross-device link", "['old', 'state']"], done.stderr


def test_a_full_disk_keeps_what_was_there(tmp_path):
    """Full of bytes or of files; each error is one line and names the file."""
    code = """
import errno, sys; from pathlib import Path
from remdm.base.errors import problem_of
from remdm.base.files import write_json
from remdm.training.lock import locked
folder = Path(sys.argv[1])
write_json(folder / "file.json", "before")
try:
    while True:
        if sys.argv[2] == "bytes":
            with (folder / "filler").open("ab", buffering=0) as filler:
                filler.write(bytes(512))
        else:
            (folder / str(len(list(folder.iterdir())))).touch()
except OSError as error:
    assert error.errno == errno.ENOSPC
for attempt in (lambda: write_json(folder / "file.json", "a" * 9000), locked(folder / "new").__enter__):
    try:
        attempt()
    except OSError as error:
        print(problem_of(error))
print((folder / "file.json").read_text().strip(), *folder.rglob(".*"))
"""
    for what, size in (("bytes", "size=64k"), ("files", "nr_inodes=12")):
        mounts = f"mount -t tmpfs -o {size} none {tmp_path}"
        done = mounted(mounts, [sys.executable, "-c", code, tmp_path, what])
        lines = done.stdout.splitlines()
        assert all(line.endswith(": No space left on device") for line in lines[:-1]), done.stderr
        assert "file.json" in lines[0], lines
        assert lines[-1] == '"before"'


@pytest.mark.slow
def test_room_for_trajectories_is_taken_before_they_are_played(tmp_path):
    """A file that is mapped into memory is written without calls that could fail: the process would end."""
    code = """
import sys; from pathlib import Path
import jax
from remdm.base.errors import UserError
from remdm.stages.trajectories import _on_disk
try:
    _on_disk(Path(sys.argv[1], "obs.npy"), jax.ShapeDtypeStruct((10**6,), "float32"))[:] = 1
except UserError as error:
    print(error)
"""
    done = mounted(f"mount -t tmpfs -o size=64k none {tmp_path}", [sys.executable, "-c", code, tmp_path])
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"{tmp_path}/obs.npy: cannot be made or mapped")
    assert "(No space left on device), as collect needs; lower collect_num_steps" in done.stdout


def run(mounts, folder, *more):
    """The toy's PPO as a user starts it, in a folder; the exit status and the messages."""
    arguments = [*kill.command("ppo", "toy", folder, None), *more]
    done = mounted(mounts, arguments, cwd=folder)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_read_only_folder_is_named(tmp_path):
    """The one that is, and not another; and nothing is trained before."""
    (tmp_path / "state").mkdir()
    lock = "mount --bind {0} {0}; mount -o remount,bind,ro {0}"
    for read_only in (tmp_path / "state", tmp_path):
        status, messages = run(lock.format(read_only), tmp_path)
        assert status == 2, messages
        [error] = [line for line in messages.splitlines() if line.startswith("error: ")]
        assert "cannot be written (Read-only file system)" in error
        assert ("state/" in error.split(":")[1]) == (read_only != tmp_path), error
        assert "compiled in" not in messages


@pytest.mark.slow
def test_a_user_without_a_home_trains(tmp_path):
    arguments = [*kill.command("ppo", "toy", tmp_path, None), "--compilation_cache_dir", "auto"]
    arguments[arguments.index("--ppo_total_timesteps") + 1] = str(4 * kill.PER_UPDATE)
    homeless = {name: text for name, text in ENVIRONMENT.items() if not name.startswith(("XDG_", "MPL"))}
    homeless["HOME"] = "/proc/nowhere"
    done = subprocess.run(arguments, cwd=tmp_path, env=homeless, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compilation cache /proc/nowhere/.cache/remdm: cannot be made") == 1
    assert (tmp_path / "out" / "run.json").exists()
