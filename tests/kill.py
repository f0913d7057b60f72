"""Kill a training process at random moments, start it again each time, and compare with one that lived.

    python -m tests.kill online --kills 20 --game craftax

The process is the real command, killed by SIGKILL: a third of the times while it starts and compiles, a third
while it trains, and a third from four fifths of the updates to its end. Snapshots are written after chunks of
two updates, so that many moments fall into a write. In the end the checkpoints, best checkpoint included, and
the metrics must be those of an uninterrupted run, bit for bit.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import polars as pl

from remdm import cli
from remdm.config.stages import STAGES
from tests.compiling import quick_environment

REPOSITORY = Path(__file__).parents[1]
UPDATES = {"toy": 400, "craftax": 300}
PER_UPDATE = 8 * 16
PHASES = ("start", "training", "end")
KEYS = {
    "seed": 0, "plan_horizon": 4, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 16,
    "obs_encoder_width": 16, "num_envs": 8, "num_steps": 16, "num_minibatches": 2, "update_epochs": 1,
    "diffusion_steps": 3, "dagger_buffer_cycles": 3, "val_interval": 7, "val_diffusion_steps": 3,
    "val_steps": 8, "val_num_envs": 8, "layer_size": 16, "ppo_num_envs": 8, "ppo_num_steps": 16,
    "ppo_num_minibatches": 2, "ppo_update_epochs": 1, "dagger_beta_final": 0.2,
    "chunk_updates": 2, "checkpoint_every_minutes": 1e-6, "use_wandb": False, "progress": False,
}  # fmt: skip


def command(
    stage: str, game: str, folder: Path, expert: Path | None, updates: int | None = None
) -> list[str]:
    """The command that trains; it runs in `folder`, where its state is kept."""
    budget = {"ppo": "ppo", "offline": "offline", "online": "online"}[stage] + "_total_timesteps"
    keys = {
        **KEYS,
        budget: (updates or UPDATES[game]) * PER_UPDATE,
        "compilation_cache_dir": REPOSITORY / ".tests-cache",
    }
    if stage != "ppo":
        keys["ppo_checkpoint_path"] = expert or toy_expert_folder(folder)
    flags = [
        text
        for key, value in keys.items()
        if key in STAGES[stage].keys
        for text in (f"--{key}", str(value).lower() if isinstance(value, bool) else str(value))
    ]
    driver = [sys.executable, "-m", "tests.kill"] if game == "toy" else [sys.executable, "-m", "remdm.cli"]
    return [*driver, *(["run"] if game == "toy" else []), stage, *flags, "--output", "out"]


def toy_expert_folder(folder: Path) -> Path:
    """What stands for the checkpoint of a toy's expert, which is in the code."""
    expert = folder / "expert"
    expert.mkdir(parents=True, exist_ok=True)
    (expert / "README").write_text("tests.toy.toy_expert\n")
    return expert


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """The process, its messages readable."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    environment = quick_environment(PYTHONPATH=str(REPOSITORY))
    return subprocess.Popen(arguments, cwd=folder, env=environment, text=True, **pipes)


def wait_until_training(process: subprocess.Popen[str]) -> None:
    """Read messages until the programs are compiled; raises if the process ended before."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "compiled in" in line:
            return
    raise RuntimeError("".join(lines[-20:]))


def finish(process: subprocess.Popen[str]) -> None:
    """Until the process has ended well."""
    _, messages = process.communicate()
    if process.returncode:
        raise RuntimeError(messages[-2000:])


def read_metrics(folder: Path) -> pl.DataFrame:
    """The metrics of a run without the one that no two runs share: how long it took."""
    return pl.read_parquet(folder / "metrics.parquet").drop("seconds")


def compare(one: Path, two: Path) -> None:
    """Raise unless two results are the same: every array of every checkpoint, and the metrics."""
    import orbax.checkpoint as ocp
    from jax.tree_util import keystr, tree_leaves_with_path

    assert read_metrics(one).equals(read_metrics(two))
    checkpoints = sorted(path.parent for path in one.glob("checkpoint*/metadata.json"))
    assert checkpoints
    for checkpoint in checkpoints:
        for item in sorted(path for path in checkpoint.iterdir() if path.is_dir()):
            other = two / item.relative_to(one)
            with ocp.PyTreeCheckpointer() as checkpointer:
                trees = [checkpointer.restore(path.absolute()) for path in (item, other)]
            for (name, x), (_, y) in zip(*map(tree_leaves_with_path, trees), strict=True):
                np.testing.assert_array_equal(x, y, err_msg=f"{item.relative_to(one)} {keystr(name)}")


def updates_saved(folder: Path, whole: bool = False) -> int:
    """Updates of the newest snapshot of a run; unless `whole`, one being written counts."""
    try:
        names = [path.name for path in folder.glob("state/*/snapshots/*")]
    except FileNotFoundError:  # the run has just removed its state
        return 0
    if not whole:
        names = [name.strip(".").split(".")[0] for name in names]
    return max((int(name) for name in names if name.isdigit()), default=0)


class Moment(NamedTuple):
    """When a process was killed."""

    phase: str
    update: int  # of the newest snapshot
    delay: float  # milliseconds since the process began, or since it had a snapshot
    left: str  # what the kill left behind

    def __str__(self) -> str:
        return f"{self.update}+{self.delay}ms"


def live_in_peace(arguments: list[str], folder: Path, updates: int) -> dict[str, float]:
    """Train without a kill; returns the seconds until it trained, and those of its end."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    process = start(arguments, folder)
    wait_until_training(process)
    training = time.monotonic()
    wait_until_saved(process, folder, end_begins(updates))
    end = time.monotonic()
    finish(process)
    return {"start": training - began, "end": time.monotonic() - end}


def end_begins(updates: int) -> int:
    """The update from whose snapshot on a life may be killed at its end: not every chunk has one."""
    return updates * 4 // 5


def wait_until_saved(process: subprocess.Popen, folder: Path, update: float) -> None:
    """Wait for a snapshot of this update or a later one, or for the process's end."""
    while updates_saved(folder) < update and process.poll() is None:
        time.sleep(0.001)


def left_behind(folder: Path, killed: bool) -> str:
    """What a process that was killed, or had ended before, left behind."""
    if not killed:
        return "ended by itself"
    there = {"results": (folder / "out" / "run.json").exists(), "a state": updates_saved(folder) > 0}
    return " and ".join(name for name, is_there in there.items() if is_there) or "nothing"


def kill_and_compare(
    stage: str, game: str, kills: int, seed: int, folder: Path, updates: int | None = None
) -> list[Moment]:
    """Train once in peace and once in many lives, which end while they start, train or finish.

    At the end they write the last snapshots and the results, and remove the state. A life may also end by
    itself there; then the results are whole, and the next one is a new run.
    """
    expert = None
    if stage != "ppo" and game == "craftax":
        (folder / "expert").mkdir(parents=True)
        finish(start(command("ppo", game, folder, None), folder / "expert"))
        expert = folder / "expert" / "out" / "checkpoint"
    updates = updates or UPDATES[game]
    arguments = command(stage, game, folder, expert, updates)
    seconds = live_in_peace(arguments, folder / "whole", updates)

    killed = folder / "killed"
    killed.mkdir()
    draw, moments = random.Random(seed), []
    # One kill is in training, two are in training and at the end.
    phases = sorted((("training", "end", "start")[k % 3] for k in range(kills)), key=PHASES.index)
    for life, phase in enumerate(phases):
        process = start(arguments, killed)
        if phase == "start":
            delay = draw.uniform(0, seconds["start"])
            timer = threading.Timer(delay, process.kill)
            timer.start()
            with suppress(RuntimeError):  # killed before
                wait_until_training(process)
            timer.cancel()
        elif phase == "training":
            wait_until_training(process)
            target = updates_saved(killed) + draw.uniform(0, 2.4 * updates / (phases.count(phase) + 1))
            target = min(target, (0.8 + 0.1 * life / kills) * updates)
            wait_until_saved(process, killed, target)
            delay = draw.uniform(0, 0.05)
        else:
            with suppress(RuntimeError):  # nothing was left to train
                wait_until_training(process)
            wait_until_saved(process, killed, end_begins(updates))
            delay = draw.uniform(0, seconds["end"])
        if phase != "start":
            time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        _, messages = process.communicate()
        was_killed = process.returncode == -signal.SIGKILL
        if not was_killed and (phase != "end" or process.returncode):
            raise RuntimeError(f"ended before kill {life + 1}, at the {phase}: {messages[-2000:]}")
        left = left_behind(killed, was_killed)
        moments.append(Moment(phase, updates_saved(killed), round(1000 * delay, 1), left))
    finish(start(arguments, killed))
    compare(folder / "whole" / "out", killed / "out")
    return moments


@contextmanager
def toy_game() -> Iterator[None]:
    """The toy game and its expert in place of Craftax."""
    from tests.toy import GAME, toy_expert

    with (
        patch("remdm.envs.batch.load_game", lambda name: GAME),
        patch("remdm.stages.offline.load_expert", lambda *_: toy_expert()),
        patch("remdm.stages.online.load_expert", lambda *_: toy_expert()),
    ):
        yield


def run_toy(arguments: list[str]) -> int:
    """The command with the toy game."""
    with toy_game():
        return cli.main(arguments)


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=["ppo", "offline", "online"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--game", choices=["toy", "craftax"], default="toy")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        moments = kill_and_compare(given.stage, given.game, given.kills, given.seed, Path(folder))
    print(f"{given.stage}: {len(moments)} of {given.kills} kills survived bit for bit; seed {given.seed}")
    for phase in PHASES:
        its = [moment for moment in moments if moment.phase == phase]
        left = ", ".join(f"{count} {what}" for what, count in Counter(m.left for m in its).items())
        print(f"{phase}: left {left or 'nothing, for there was none'}")
        print(f"  newest snapshot, and time waited: {' '.join(map(str, its))}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        sys.exit(run_toy(sys.argv[2:]))
    main()
