"""Frames/s of collecting an expert's trajectories into an `.npz`, beside the same as it is usually laid out.

    uv run python benchmarks/collect.py CHECKPOINT [--frames 262144] [--repeats 3]

CHECKPOINT is that of an expert in Classic. `plain` plays all frames with optimistic resets as one program,
brings them to the host, and leaves the file to numpy: compressed, or as it is, which is 80 times as large.
Each is a process, from its start to its end without compiling; they take turns, so that the machine's moods
meet all of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from remdm.base.program import compiled
from remdm.config.collect import CollectConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.envs.batch import make_batch_env
from remdm.loading.expert import load_expert
from remdm.play.rollout import rollout, start

NUM_ENVS = 64
COMPRESSED, AS_IT_IS, OURS = "plain", "plain, not compressed", "ours"
SAVE = {COMPRESSED: np.savez_compressed, AS_IT_IS: np.savez}


def plain(checkpoint: str, frames: int, way: str, folder: Path) -> float:
    """Collect in the direct way; the seconds that compiling took."""
    keys = {"ppo_checkpoint_path": checkpoint, "use_optimistic_resets": True, "seed": 0}
    config = build(CollectConfig, [*base_layers(None), Layer("benchmark", keys)])
    env = make_batch_env(config.env, NUM_ENVS)
    expert = load_expert("CHECKPOINT", checkpoint, config.env.env_name, env.game, config.collect_temperature)
    key = jax.random.PRNGKey(config.seed)

    def collect(key: jax.Array) -> tuple:
        first = start(key, env, expert.init(NUM_ENVS))
        _, data = rollout(key, env, expert, first, frames // NUM_ENVS)
        return data.obs, data.action, data.step.reward, data.step.done

    began = time.perf_counter()
    play = compiled(collect, key)
    compiling = time.perf_counter() - began
    arrays = [np.swapaxes(jax.device_get(x), 0, 1) for x in play(key)]
    names = "obs", "actions", "rewards", "dones"
    SAVE[way](folder / "trajectories.npz", **dict(zip(names, arrays, strict=True)))
    return compiling


def measure(arguments: argparse.Namespace, way: str) -> float:
    """Seconds of one way, in a process of its own, but for compiling."""
    checkpoint, frames = arguments.checkpoint, str(arguments.frames)
    ours = [sys.executable, "-m", "remdm.cli", "collect", "--ppo_checkpoint_path", checkpoint]
    ours += ["--collect_num_steps", frames, "--collect_num_envs", str(NUM_ENVS), "--seed", "0"]
    ours += ["--no-use_wandb", "--no-progress", "--output"]
    other = [sys.executable, str(Path(__file__).resolve()), checkpoint, "--frames", frames]
    other += ["--serve", way, "--folder"]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        command = [*(ours if way == OURS else other), folder]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
        seconds = time.perf_counter() - began
        record = Path(folder) / "run.json"
        seconds -= json.loads(record.read_text())["compile_seconds"] if way == OURS else float(done.stdout)
        size = (Path(folder) / "trajectories.npz").stat().st_size
    print(f"{way}: {seconds:.1f} s, {size / 1e6:,.0f} MB", flush=True)
    return seconds


def main() -> None:
    """Print the rates and their ratios."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument(
        "checkpoint", type=lambda path: str(Path(path).resolve()), help="of an expert in Classic"
    )
    flags.add_argument("--frames", type=int, default=2**18)
    flags.add_argument("--repeats", type=int, default=3)
    flags.add_argument("--folder", default=None, help="where the files are written for the while")
    flags.add_argument("--serve", choices=SAVE, help=argparse.SUPPRESS)
    arguments = flags.parse_args()
    if arguments.serve:
        print(plain(arguments.checkpoint, arguments.frames, arguments.serve, Path(arguments.folder)))
        return
    ways = [*SAVE, OURS]
    seconds = [{way: measure(arguments, way) for way in ways} for _ in range(arguments.repeats)]
    for way in ways:
        rates = sorted(arguments.frames / s[way] for s in seconds)
        ratios = sorted(s[COMPRESSED] / s[way] for s in seconds)
        print(
            f"{way}: {statistics.median(rates):,.0f} frames/s ({rates[0]:,.0f} to {rates[-1]:,.0f}), "
            f"over {COMPRESSED}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
