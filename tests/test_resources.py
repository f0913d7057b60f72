"""What jobs ask for, what the machine has, and who gets which GPU."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import yaml

from remdm.base import machine
from remdm.base.cgroup import memory_limits
from remdm.base.clone import git_commit
from remdm.base.errors import UserError
from remdm.base.machine import gpu_for_jax, shared_resources, stage_threads, visible_gpus
from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.stages.device import claimed
from remdm.stages.session import prepare_jax
from remdm.workflow.cluster import foreign_profile
from tests.conftest import REPOSITORY
from tests.smallest import snakemake

STAGES = {"ppo", "collect", "offline", "online", "ablations", "inference", "film"}


def planned(folder, *arguments):
    """What `snakemake -n` says of each rule: its resources as they stand there, and its threads."""
    done = snakemake(folder, "-n", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    rules = {}
    for block in re.split(r"\n\s*\n", done.stdout + done.stderr):
        if name := re.search(r"^rule (\w+):", block, re.MULTILINE):
            found = dict(re.findall(r"(\w+)=([^,\n]+)", re.search(r"resources: (.*)", block)[1]))
            threads = re.search(r"threads: (\d+)", block)
            rules[name[1]] = found | {"threads": threads[1] if threads else "1"}
    return rules


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))


@pytest.mark.slow
def test_locally_stages_share_the_gpus_and_leave_a_core(tmp_path, two_gpus):
    rules = planned(tmp_path, "--cores", "5")
    assert set(rules) > STAGES | {"curves", "table", "report"}
    for name, asked in rules.items():
        assert asked.get("gpu", "0") == ("1" if name in STAGES else "0"), name
        assert asked["threads"] == ("2" if name in STAGES else "1"), name
    assert int(rules["offline"]["mem_mb"]) > int(rules["ppo"]["mem_mb"])


@pytest.mark.parametrize(
    ("cores", "gpus", "each"),
    [(1, 0, 1), (2, 0, 1), (3, 0, 1), (16, 0, 8), (2, 1, 1), (5, 2, 2)],
)
def test_stages_share_the_cores(cores, gpus, each):
    """Two at a time without a GPU; with some, one on each, and a core for figures."""
    assert stage_threads(cores, gpus) == each


@pytest.mark.slow
def test_locally_two_stages_run_side_by_side_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    rules = planned(tmp_path, "--cores", "4")
    for name, asked in rules.items():
        assert asked["threads"] == ("2" if name in STAGES else "1"), name


@pytest.mark.slow
def test_under_slurm_a_stage_asks_for_what_the_profile_says(tmp_path):
    rules = planned(tmp_path, "--profile", str(REPOSITORY / "profiles" / "slurm"))
    for name, asked in rules.items():
        assert asked.get("gpu", "0") == ("1" if name in STAGES else "0"), name
        assert int(asked["runtime"]) == {"ppo": 1440, "offline": 1440, "online": 1440, "ablations": 720}.get(
            name, 120 if name in STAGES else 30
        )
        assert asked["cpus_per_task"] == ("4" if name in STAGES else "2")
    assert rules["offline"]["mem_mb"] == "32000"  # whatever the machine that submits has


@pytest.mark.parametrize(
    ("told", "names"), [("", []), ("-1", []), ("NoDevFiles", []), ("0", ["0"]), ("0,GPU-7", ["0", "GPU-7"])]
)
def test_gpus_are_those_a_process_may_see(monkeypatch, told, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert visible_gpus() == names
    assert shared_resources().get("gpu", 0) == len(names)
    assert shared_resources()["mem_mb"] > 0


def test_gpus_are_asked_for_where_nothing_names_them(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: H200\n  MIG 1g Device 0\nGPU 1: H200'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(
    "script",
    ["exec sleep 60", "trap '' TERM; while :; do sleep 1; done", "sleep 60 & wait"],
    ids=["asleep", "deaf", "its child holds the pipe, as what hangs in a driver cannot be killed"],
)
def test_a_driver_that_hangs_is_named(script, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "NVIDIA_SMI_SECONDS", 0.3)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    began = time.monotonic()
    for use in (shared_resources, machine.has_nvidia_gpu, claimed(1).__enter__):
        with pytest.raises(UserError, match=r"nvidia-smi: no answer within .* set CUDA_VISIBLE_DEVICES"):
            use()
    assert time.monotonic() - began < 30
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert visible_gpus() == ["0"]


MEMORY = 3 * 2**30
# Lines of `cgroup` and `mountinfo` of a process, and the file that has a limit: in a container, with and
# without a namespace of its own, in a step of a job of Slurm, with systemd, with other hierarchies beside.
V1 = "32 25 0:28 {root} {point} rw,nosuid shared:9 - cgroup cgroup rw,memory"
V2 = "32 25 0:28 {root} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
OTHER = "33 25 0:29 / /nowhere rw - cgroup cgroup rw,cpu,cpuacct"
GROUPS = {
    "v2, own": ("0::/", V2, "/", "memory.max"),
    "v2, of a service": ("0::/user.slice/a.service", V2, "/", "user.slice/a.service/memory.max"),
    "v2, around it": ("0::/user.slice/a.service", V2, "/", "user.slice/memory.max"),
    "v2, of a job": ("0::/slurm/job_1/step_0/task_0", V2, "/", "slurm/job_1/memory.max"),
    "v2, in no namespace": ("0::/docker/a/b", V2, "/docker/a", "b/memory.max"),
    "v2, outside": ("0::/../else", V2, "/", "memory.max"),
    "v1, own": ("5:cpu,cpuacct:/x\n4:memory:/\n0::/x", V1, "/", "memory.limit_in_bytes"),
    "v1, of a job": ("4:memory:/slurm/uid_0/job_1", V1, "/", "slurm/uid_0/memory.limit_in_bytes"),
    "v1, in no namespace": ("4:memory:/docker/a", V1, "/docker/a", "memory.limit_in_bytes"),
    "v1, mounted elsewhere": ("4:memory:/docker/a", V1, "/docker/b", "memory.limit_in_bytes"),
    "v1, with another": ("4:hugetlb,memory:/a", V1.replace(",memory", ",hugetlb,memory"), "/",
                         "a/memory.limit_in_bytes"),
    "v1, a path with a colon": ("4:memory:/a:b", V1, "/", "a:b/memory.limit_in_bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("groups", "mount", "root", "limited"), GROUPS.values(), ids=GROUPS)
def test_the_memory_of_a_group_counts(groups, mount, root, limited, tmp_path):
    proc, point = tmp_path / "proc", tmp_path / "a mount"
    proc.mkdir()
    (proc / "cgroup").write_text(groups + "\n")
    mounts = [OTHER, mount.format(root=root, point=str(point).replace(" ", "\\040"))]
    (proc / "mountinfo").write_text("\n".join(mounts) + "\n")
    file = point / limited
    file.parent.mkdir(parents=True)
    assert list(memory_limits(proc)) == []
    file.write_text("max\n")
    assert list(memory_limits(proc)) == []
    file.write_text(f"{MEMORY}\n")
    assert list(memory_limits(proc)) == [MEMORY]


def test_without_groups_all_memory_counts(tmp_path):
    assert list(memory_limits(tmp_path)) == []


def own_group():
    """The folder of this process's group of memory, and the name of its limit, of this machine's version."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    v1 = next((path for _, names, path in lines if "memory" in names.split(",")), None)
    v2 = next(path for _, names, path in lines if not names)
    root = Path("/sys/fs/cgroup")
    return (root / "memory" / v1[1:], "limit_in_bytes") if v1 is not None else (root / v2[1:], "max")


def test_a_real_group_around_the_process_counts(request):
    """As Slurm's, the limit is of a group that has others in it, and the process is in one of these."""
    around, name = own_group() if Path("/proc/self/cgroup").exists() else (Path("/nowhere"), "")
    outer = around / f"remdm-test-{os.getpid()}"
    try:
        (outer / "inner").mkdir(parents=True)
        request.addfinalizer(lambda: [folder.rmdir() for folder in (outer / "inner", outer)])
        (outer / f"memory.{name}").write_text(str(MEMORY))
    except OSError as error:
        pytest.skip(f"no group can be made here: {error}")
    code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); "
    code += "from remdm.base.machine import memory; print(memory())"
    run = [sys.executable, "-c", code, str(outer / "inner" / "cgroup.procs")]
    done = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert int(done.stdout) == MEMORY
    assert machine.memory() != MEMORY


def test_a_profile_without_our_stages_is_named():
    ours = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())["set-resources"]
    assert foreign_profile(ours) is None
    assert foreign_profile({}).startswith("the profile in use has no set-resources for ppo, collect, offline")
    assert "set-resources for film: their" in foreign_profile(ours.keys() - {"film"})


@pytest.mark.slow
def test_a_users_own_profile_of_that_name_is_not_taken_for_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    theirs = tmp_path / "config" / "snakemake" / "slurm"
    theirs.mkdir(parents=True)
    (theirs / "config.yaml").write_text("executor: slurm\njobs: 5\n")
    (tmp_path / "run").mkdir()
    for profile, foreign in (("slurm", True), (str(REPOSITORY / "profiles" / "slurm"), False)):
        done = snakemake(tmp_path / "run", "-n", "--quiet", "--profile", profile)
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("note: the profile in use has no set-resources" in done.stderr) == foreign


@pytest.mark.parametrize("why", ["a link", "another user's"])
def test_locks_of_gpus_lie_where_no_other_user_can_put_a_link(why, two_gpus, tmp_path, monkeypatch):
    with claimed(1):
        pass
    folder = tmp_path / f"remdm-gpus-{os.getuid()}"
    folder.chmod(0o777)
    with claimed(1):
        assert folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder)
    if why == "a link":
        (tmp_path / "theirs").mkdir()
        folder.symlink_to("theirs")
    else:
        another = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: another)
        folder = tmp_path / f"remdm-gpus-{another}"
        folder.mkdir()
    with pytest.raises(UserError, match=f"{folder}: is a link, or not yours"), claimed(1):
        pass
    assert list(folder.iterdir()) == []


def test_jobs_side_by_side_hold_different_gpus(two_gpus):
    with claimed(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        os.environ["CUDA_VISIBLE_DEVICES"] = "2,5"  # as another job is started
        with claimed(1):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
            os.environ["CUDA_VISIBLE_DEVICES"] = "2,5"
            with pytest.raises(UserError, match="gpu = 1: 0 of 2 GPUs are free"), claimed(1):
                pass
    os.environ["CUDA_VISIBLE_DEVICES"] = "2,5"
    with claimed(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    for count in (0, 2):  # none asked for, or all: nothing to choose
        with claimed(count):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,5"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a plugin of JAX as packages do; nothing loads it, since JAX looks for plugins once."""
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)

    def write(name):
        folder = tmp_path / "packages" / f"jax_{name}_pjrt-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: jax-{name}-pjrt\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[jax_plugins]\nxla_{name} = jax_plugins.xla_{name}\n")

    return write


@pytest.mark.parametrize(
    ("plugins", "visible", "platforms", "kind"),
    [
        ([], "0", "", None),
        (["cuda12"], "0", "", "cuda"),
        (["cuda13"], "0,1", "", "cuda"),
        (["cuda13"], "", "", None),  # of all extras, on a machine without a GPU
        (["mps"], "0", "", None),
        (["cuda13"], "0", "cpu", None),
        (["cuda13"], "0", "cuda,cpu", "cuda"),
    ],
)
def test_jax_is_prepared_for_the_gpu_that_it_can_use(install, monkeypatch, plugins, visible, platforms, kind):
    for name in plugins:
        install(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert gpu_for_jax() == kind


@pytest.mark.parametrize(
    ("platforms", "flag"),
    [
        ("", "--xla_gpu_deterministic_ops=true"),
        ("cpu", "--xla_backend_optimization_level=1"),
        ("cuda,cpu", "--xla_gpu_deterministic_ops=true"),
    ],
)
def test_a_gpu_that_jax_does_not_use_is_an_error(install, monkeypatch, platforms, flag):
    """Unless the CPU is allowed; and flags are those of what should be used."""
    install("cuda12")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setenv("XLA_FLAGS", "")
    config = build(RuntimeConfig, [*base_layers(None), Layer("test", {"compilation_cache_dir": None})])
    refused = pytest.raises(UserError, match=r"JAX runs on the CPU, although a GPU is visible .* for cuda")
    with nullcontext() if platforms else refused:
        prepare_jax(config)
    assert os.environ["XLA_FLAGS"] == flag


@pytest.mark.parametrize(
    ("version", "platforms", "visible", "advice"),
    [
        ((3, 11), "", "0", "uv sync --python 3.12 --extra cuda, or cuda12 "),
        ((3, 13), "", "0", "uv sync --extra cuda, or cuda12 "),
        ((3, 13), "cpu", "0", None),
        ((3, 13), "", "", None),
    ],
)
def test_a_gpu_without_cuda_is_named_and_not_used(
    install, monkeypatch, caplog, version, platforms, visible, advice
):
    """On Python 3.11 the extras install nothing, so the advice names a later one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setattr("sys.version_info", version)
    prepare_jax(build(RuntimeConfig, [*base_layers(None), Layer("test", {"compilation_cache_dir": None})]))
    assert len(caplog.messages) == (advice is not None)
    assert advice is None or advice in caplog.text


def test_gpus_get_no_jax_that_crawls_on_them():
    """Nor one that plans our programs badly: JAX before 0.11.1, which Python 3.11 has nothing after."""
    lock = (REPOSITORY / "requirements.lock").read_text()
    plugins = re.findall(r"^jax-cuda\d+-\w+==([\d.]+) ; (.*?) \\", lock, re.MULTILINE)
    assert plugins
    for release, marker in plugins:
        assert tuple(map(int, release.split("."))) >= (0, 11, 1)
        assert "python_full_version >= '3.12'" in marker


@pytest.mark.parametrize(
    ("setting", "given"),
    [
        ("jax_enable_x64", True),
        ("jax_default_prng_impl", "rbg"),
        ("jax_default_matmul_precision", "bfloat16"),
        ("jax_random_seed_offset", 5),
        ("jax_numpy_rank_promotion", "raise"),
    ],
)
def test_a_users_settings_of_jax_reach_no_program(setting, given):
    """As JAX_ENABLE_X64=1 and the like set them before anything of ours runs."""

    def numbers():
        return jax.random.normal(jax.random.PRNGKey(0), (4, 4)) @ jnp.full(4, 1 / 3)

    usual, before = numbers(), getattr(jax.config, setting)
    jax.config.update(setting, given)
    try:
        prepare_jax(
            build(RuntimeConfig, [*base_layers(None), Layer("test", {"compilation_cache_dir": None})])
        )
        assert getattr(jax.config, setting) == before
        assert numbers().dtype == usual.dtype
        assert (numbers() == usual).all()
    finally:
        jax.config.update(setting, before)


def git(folder, *arguments):
    given = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(given, check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_is_recorded_of_our_own_repository_alone(tmp_path, caplog):
    ours = tmp_path / "theirs" / "site-packages"
    (ours / "remdm").mkdir(parents=True)
    git(tmp_path / "theirs", "init", "-q")
    git(tmp_path / "theirs", "commit", "-q", "--allow-empty", "-m", "theirs")
    assert git_commit(ours) is None  # an environment in somebody's repository
    assert caplog.messages == []
    git(ours, "init", "-q")
    (ours / "file").write_text("a")
    git(ours, "add", "file")
    git(ours, "commit", "-q", "-m", "ours")
    assert git_commit(ours) == git(ours, "rev-parse", "HEAD")
    (ours / "file").write_text("b")
    assert git_commit(ours) == git(ours, "rev-parse", "HEAD") + "+"
    (ours / ".git" / "HEAD").write_text("damaged")
    assert git_commit(ours) is None
    assert caplog.messages[0].startswith("git: fatal: ")
    assert caplog.messages[0].endswith("; the commit is not recorded")
