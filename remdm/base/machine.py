"""What this machine has, and what of it a job may use; found without JAX."""

import os
import resource
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from remdm.base.cgroup import memory_limits
from remdm.base.errors import UserError

NVIDIA_SMI_SECONDS = 60.0  # some need many to wake the GPUs of a large node


def visible_gpus() -> list[str]:
    """The GPUs that a process started here may use, as `CUDA_VISIBLE_DEVICES` names them.

    Raises:
        UserError: nothing names them, and the driver does not answer.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    listed = _nvidia_smi().splitlines() if shutil.which("nvidia-smi") else []
    return [str(number) for number, _ in enumerate(gpu for gpu in listed if gpu[:4] == "GPU ")]


def _nvidia_smi() -> str:
    command = ["nvidia-smi", "-L"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        return process.communicate(timeout=NVIDIA_SMI_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: what hangs in the driver cannot be killed
        raise UserError(
            f"nvidia-smi: no answer within {NVIDIA_SMI_SECONDS:.0f} s, so the GPU's driver hangs; reset it, "
            f"or set CUDA_VISIBLE_DEVICES to the GPUs to use, and to nothing for the CPU"
        ) from None


def gpu_for_jax() -> str | None:
    """The kind of GPU, `cuda` or `rocm`, that JAX should run on here; None if it should run elsewhere.

    One must be there and visible, and a plugin for it installed. JAX_PLATFORMS, where it is set, decides.
    """
    if chosen := os.environ.get("JAX_PLATFORMS"):
        first = chosen.split(",")[0]
        return {"gpu": "cuda", "cuda": "cuda", "rocm": "rocm"}.get(first)
    # By the way that JAX finds them: packages have other names for each version of CUDA.
    plugins = " ".join(plugin.value for plugin in entry_points(group="jax_plugins"))
    there = {"cuda": has_nvidia_gpu(), "rocm": Path("/dev/kfd").exists()}
    return next((kind for kind, is_there in there.items() if is_there and kind in plugins), None)


def has_nvidia_gpu() -> bool:
    """Whether a process started here may use one; without `nvidia-smi`, the driver's device files tell."""
    if "CUDA_VISIBLE_DEVICES" in os.environ or shutil.which("nvidia-smi") is not None:
        return visible_gpus() != []
    return any(Path("/dev").glob("nvidia[0-9]*"))


def shared_resources() -> dict[str, int]:
    """What local jobs share: `mem_mb`, and `gpu` where there are any."""
    gpus = len(visible_gpus())
    return {"mem_mb": memory() // 2**20} | ({"gpu": gpus} if gpus else {})


def memory() -> int:
    """Bytes that this process may use: all that the machine has, or what its control groups leave of it."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *memory_limits()])


def stage_threads(cores: int, gpus: int) -> int:
    """Cores that a stage holds of those that local jobs share.

    With GPUs, stages in progress share all cores but one, which is left for figures. Without, two stages
    run side by side: one alone leaves much of a core idle, in compiling most of all.
    """
    return max(1, (cores - 1) // gpus if gpus else cores // 2)


def compilation_cache(folder: str) -> Path | None:
    """Where compiled programs are kept: `auto` is the user's cache folder, None without a home."""
    if folder != "auto":
        return Path(folder).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "remdm") if os.path.isabs(home) else None


def import_nothing_from_the_working_folder() -> None:
    """For processes started from here on: `python -m` and scripts would search that folder first."""
    os.environ["PYTHONSAFEPATH"] = "1"


def check_interpreter() -> None:
    """Refuse a Python by whose path Snakemake, which does not quote it, could start no job.

    Raises:
        UserError: its path has a space, or the like.
    """
    if shlex.quote(sys.executable) != sys.executable:
        raise UserError(
            f"{sys.executable}: Snakemake starts no job by a path that a shell would take apart; put the "
            f"environment elsewhere, UV_PROJECT_ENVIRONMENT=PATH uv run snakemake, or the clone"
        )


def num_processes() -> int:
    """Processes that Slurm started for the same run."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def process_peak_memory() -> int:
    """Bytes that this process has held at most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # only macOS counts bytes
