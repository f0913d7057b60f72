"""What this machine has for jobs to share, found without JAX."""

import os
import shutil
import subprocess


def visible_gpus() -> list[str]:
    """The GPUs that a process started here may use, as `CUDA_VISIBLE_DEVICES` names them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name for name in told.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(number) for number, _ in enumerate(gpu for gpu in listed.splitlines() if gpu[:4] == "GPU ")]


def shared_resources() -> dict[str, int]:
    """What local jobs share: `gpu`, where a machine without one counts as one device, and `mem_mb`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"gpu": max(1, len(visible_gpus())), "mem_mb": memory // 2**20}
