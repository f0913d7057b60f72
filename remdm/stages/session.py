"""A process that runs one stage: its log, its caches and its errors."""

import importlib
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from remdm.base.errors import UserError, reported
from remdm.base.log import configure_logging
from remdm.base.machine import gpu_for_jax, has_nvidia_gpu, num_processes
from remdm.base.state import STATE, restore_results
from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import RuntimeConfig, TrainingRuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES
from remdm.stages.compilation import use_cache
from remdm.stages.device import claimed
from remdm.training.run import Run

logger = logging.getLogger("remdm")

# Settings that affect numerical results, and that variables such as JAX_ENABLE_X64 could change.
NUMERICS = {
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_random_seed_offset": 0,
    "jax_threefry_partitionable": True,
}


def prepare_jax(runtime: RuntimeConfig) -> RuntimeConfig:
    """Set what must be set before JAX starts: compiler flags, numerics, cache, participating processes.

    Returns:
        The runtime keys of this process: of several processes, only the first shows progress and tracks.

    Raises:
        UserError: Slurm started several processes for a stage that uses one, or JAX cannot use a visible GPU.
    """
    gpu = gpu_for_jax()
    if gpu is None:
        # On CPUs, level 1 of 3 compiles faster and Craftax's many small kernels even run faster.
        flag, value = "--xla_backend_optimization_level", "1"
    else:
        # Without it, sums by atomic additions and kernels chosen by timing differ from run to run, so no
        # resumed run would equal another. It turns some scatters into loops, but no program here has those.
        flag, value = "--xla_gpu_deterministic_ops", "true"
    flags = os.environ.get("XLA_FLAGS", "")
    if flag not in flags:
        if _jax_has_started():
            logger.warning(
                f"JAX had started before, without {flag}={value}: digits may differ from the command's, and "
                "from those of a run that is interrupted and resumed; in a fresh session, train first"
            )
        os.environ["XLA_FLAGS"] = f"{flags} {flag}={value}".strip()
    import jax

    for setting, decided in NUMERICS.items():
        jax.config.update(setting, decided)
    jax.config.update("jax_disable_jit", not runtime.jit)
    if runtime.compilation_cache_dir is not None:
        use_cache(runtime.compilation_cache_dir)
    tasks = num_processes()
    if tasks > 1:
        if not isinstance(runtime, TrainingRuntimeConfig):
            raise UserError(
                f"SLURM_STEP_NUM_TASKS = {tasks}: only training is shared by processes; srun --ntasks=1"
            )
        jax.distributed.initialize()  # finds the others by Slurm's variables
    if gpu is not None and not os.environ.get("JAX_PLATFORMS") and jax.default_backend() == "cpu":
        raise UserError(
            f"JAX runs on the CPU, although a GPU is visible and a plugin for {gpu} is installed: update the "
            "GPU's driver, or set JAX_PLATFORMS=cpu to run on the CPU"
        )
    if gpu is None and not os.environ.get("JAX_PLATFORMS") and has_nvidia_gpu():
        python = "" if sys.version_info >= (3, 12) else " --python 3.12"
        logger.warning(
            "a GPU is visible, but JAX was installed without CUDA and runs on the CPU: "
            f"uv sync{python} --extra cuda, or cuda12 for a driver older than 580"
        )
    if tasks == 1 or jax.process_index() == 0:
        return runtime
    logger.setLevel(logging.ERROR)
    return runtime.model_copy(update={"progress": False, "use_wandb": False})


def _jax_has_started() -> bool:
    """Whether JAX has read its flags; it then refuses another number of CPU devices."""
    if "jax" not in sys.modules:
        return False
    import jax

    number = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    try:
        jax.config.update("jax_num_cpu_devices", 2 if number == 1 else 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", number)
    return False


def run_mode(mode: str, config: StageConfig, run: Run) -> None:
    """Run a mode: `run_<mode>` of the module of the same name."""
    getattr(importlib.import_module(f"remdm.stages.{mode}"), f"run_{mode}")(config, run)


def run_script(snakemake: Any) -> None:
    """Run a stage as the Snakemake job of its rule.

    Inputs whose name is a key of the stage become that key. Complete results that a killed Snakemake did not
    register are kept.
    """
    started = time.perf_counter()
    configure_logging(Path(snakemake.log[0]))
    mode = snakemake.rule
    stage = STAGES[mode]
    with reported(mode), claimed(snakemake.resources.get("gpu", 0)):
        digest = snakemake.params.digest
        folder = Path(snakemake.output.run).parent
        if restore_results(STATE / digest, folder, (*stage.outputs, "run.json")):
            logger.info("%s: was finished when Snakemake was killed; kept as it is", folder)
            return
        origin = json.loads(snakemake.config["origins"][digest])
        inputs = {key: snakemake.input.get(key) for key in stage.model.path_keys()}
        # The rule's function names no file for an input that a job does not have.
        paths = {key: str(path) if path else None for key, path in inputs.items()}
        config = build(stage.model, [*base_layers(None), Layer("the job", origin["config"] | paths)])
        given = Layer("--config runtime", snakemake.config["runtime"])
        runtime = prepare_jax(build(stage.runtime, [given]))
        with Run(mode, folder, STATE / digest, digest, runtime, origin, started) as run:
            run_mode(mode, config, run)
