"""The pipeline at its smallest size, for the tests that run it."""

import os
import subprocess
import sys

import yaml

from tests.compiling import quick_environment
from tests.conftest import REPOSITORY

STANDIN = REPOSITORY / "tests" / "standin"
GAME = "Craftax-Classic-Symbolic-v1"
SMALLEST = {
    "layer_size": 16, "ppo_exploration": "e3b", "icm_layer_size": 16, "icm_latent_size": 8,
    "ppo_num_envs": 8, "ppo_num_steps": 16, "ppo_num_minibatches": 2, "ppo_update_epochs": 1,
    "ppo_total_timesteps": 384, "collect_num_envs": 8, "collect_num_steps": 800,
    "plan_horizon": 4, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 16, "obs_encoder_width": 16,
    "past_observations": 2, "past_actions": 2, "past_progress": True,
    "num_envs": 8, "num_steps": 16, "num_minibatches": 2, "update_epochs": 1, "lr": 1e-3,
    "offline_total_timesteps": 384, "online_total_timesteps": 384, "diffusion_steps": 3,
    "dagger_buffer_cycles": 2.0, "val_interval_frames": 256, "val_diffusion_steps": 3, "val_steps": 8,
    "val_num_envs": 8, "eval_num_envs": 8, "eval_steps": 400, "diffusion_steps_eval": 3, "replan_every": 2,
    "film_steps": 40, "film_num_envs": 2,
    "ablation_iterations": 2, "ablation_batch_size": 16, "ablation_cka_batch": 8, "ablation_eval_replan": 4,
}  # fmt: skip
# Read by one method alone, and refused where it is not trained.
ONLINE_ALONE = {"online_total_timesteps", "diffusion_steps", "dagger_buffer_cycles"}
OFFLINE_ALONE = {"offline_total_timesteps", *(key for key in SMALLEST if key.startswith("ablation_"))}

SNAKEMAKE = [
    sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"),
    "--workflow-profile", str(REPOSITORY / "profiles" / "default"),
]  # fmt: skip


def stand_in(*folders):
    """The environment of processes that play a small game in place of Craftax, which compiles for long.

    Their modules are looked for in `folders` too.
    """
    return quick_environment(PYTHONPATH=os.pathsep.join(map(str, (STANDIN, *folders))))


def snakemake(folder, *arguments, environment=None):
    return subprocess.run(
        [*SNAKEMAKE, "--directory", str(folder), *arguments],
        env=environment or quick_environment(), capture_output=True, text=True,
    )  # fmt: skip


def write_config(path, overrides=SMALLEST, methods=("offline", "online"), **runtime):
    """The demo of `workflow_config.yaml` with keys overridden, and the planners of some methods alone.

    The ablation suite starts from offline BC, and is left out with it.
    """
    config = yaml.safe_load((REPOSITORY / "workflow_config.yaml").read_text())
    demo = config["scales"]["demo"]
    demo["overrides"], demo["experts"] = overrides, ["ppo_rnn"]
    suites = demo["ablations"] if "offline" in methods else []
    demo["ablations"] = [{**entry, "arms": ["lora"]} for entry in suites]
    demo["planners"] = [planner for planner in demo["planners"] if planner["method"] in methods]
    config["runtime"] |= {"compilation_cache_dir": str(REPOSITORY / ".tests-cache"), **runtime}
    path.write_text(yaml.safe_dump(config))
    return path
