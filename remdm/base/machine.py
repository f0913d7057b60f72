"""The resources of this machine and the share that a job may use, determined without JAX."""

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

NVIDIA_SMI_SECONDS = 60.0  # waking the GPUs of a large node can take long


def visible_gpus() -> list[str]:
    """The GPUs that a process started here may use, as `CUDA_VISIBLE_DEVICES` names them.

    Raises:
        UserError: `CUDA_VISIBLE_DEVICES` is not set, and the driver does not answer.
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
        process.kill()  # without waiting: a process that hangs in the driver cannot be killed
        raise UserError(
            f"nvidia-smi: no answer within {NVIDIA_SMI_SECONDS:.0f} s, so the GPU's driver hangs; reset it, "
            f"or set CUDA_VISIBLE_DEVICES to the GPUs to use, and to nothing for the CPU"
        ) from None


def gpu_for_jax() -> str | None:
    """The kind of GPU, `cuda` or `rocm`, on which JAX should run; None if it should run on something else.

    A GPU must be visible and a plugin for it installed. JAX_PLATFORMS takes precedence if it is set.
    """
    if chosen := os.environ.get("JAX_PLATFORMS"):
        first = chosen.split(",")[0]
        return {"gpu": "cuda", "cuda": "cuda", "rocm": "rocm"}.get(first)
    # As JAX finds them: packages have other names for each version of CUDA.
    plugins = " ".join(plugin.value for plugin in entry_points(group="jax_plugins"))
    there = {"cuda": has_nvidia_gpu(), "rocm": Path("/dev/kfd").exists()}
    return next((kind for kind, is_there in there.items() if is_there and kind in plugins), None)


def has_nvidia_gpu() -> bool:
    """Whether a process started here may use an NVIDIA GPU; without `nvidia-smi`, by its device files."""
    if "CUDA_VISIBLE_DEVICES" in os.environ or shutil.which("nvidia-smi") is not None:
        return visible_gpus() != []
    return any(Path("/dev").glob("nvidia[0-9]*"))


def shared_resources() -> dict[str, int]:
    """The resources that local jobs share: `mem_mb`, and `gpu` if there are any."""
    gpus = len(visible_gpus())
    return {"mem_mb": memory() // 2**20} | ({"gpu": gpus} if gpus else {})


def memory() -> int:
    """Bytes that this process may use: the machine's memory, or a smaller limit of its control groups."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *memory_limits()])


def stage_threads(cores: int, gpus: int) -> int:
    """The number of cores for a stage, of those that local jobs share.

    With GPUs, stages in progress share all cores except one, which is left for figures. Without GPUs, two
    stages run at once, because a single one leaves much of a core idle, mainly while compiling.
    """
    return max(1, (cores - 1) // gpus if gpus else cores // 2)


def compilation_cache(folder: str) -> Path | None:
    """The folder of compiled programs: `auto` is in the user's cache folder, None without a home."""
    if folder != "auto":
        return Path(folder).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "remdm") if os.path.isabs(home) else None


def import_nothing_from_the_working_folder() -> None:
    """Applies to processes started later: `python -m` and scripts would search that folder first."""
    os.environ["PYTHONSAFEPATH"] = "1"


def check_interpreter() -> None:
    """Refuse a Python whose path would break Snakemake's unquoted command lines.

    Raises:
        UserError: the path contains a space or another special character.
    """
    if shlex.quote(sys.executable) != sys.executable:
        raise UserError(
            f"{sys.executable}: Snakemake cannot start jobs with a path that needs quoting; put the "
            f"environment elsewhere, UV_PROJECT_ENVIRONMENT=PATH uv run snakemake, or the clone"
        )


def num_processes() -> int:
    """The number of processes that Slurm started for this run."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def process_peak_memory() -> int:
    """The peak memory of this process in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # only macOS counts bytes
