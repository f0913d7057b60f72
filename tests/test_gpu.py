"""What is prepared for GPUs: the script that measures one, and the hours of the scale `paper`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks.hours import H100, Costs, seconds
from benchmarks.hours import table as hours_table
from remdm.config.layers import Layer, base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.ppo import PPOConfig
from remdm.workflow.plan import Plan
from tests.conftest import REPOSITORY
from tests.smallest import stand_in

PIECES = [
    "device", "repeats-gradient", "gradient-bfloat16", "gradient-float32", "bfloat16-gains", "env_step",
    "ppo", "inference", "env_step-graphs", "graphs-gain", "repeats-ppo", "trace-gradient", "train",
]  # fmt: skip


def gpu_script(folder, *arguments):
    """`benchmarks/gpu.sh` in a small game, on whatever device there is."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [str(REPOSITORY / "benchmarks" / "gpu.sh"), str(folder), *map(str, arguments)]
    return subprocess.run(command, env=stand_in() | {"PATH": path}, capture_output=True, text=True)


def ended(folder):
    """How each piece of the script ended."""
    return dict(re.findall(r"^(\S+): exit status (\d+) ", (folder / "pieces.txt").read_text(), re.MULTILINE))


def test_the_script_for_gpus_starts_nothing_without_time_and_leaves_out_what_is_done(tmp_path):
    (tmp_path / "pieces.txt").write_text(
        "".join(f"{name}: exit status 0 after 1 s\n" for name in PIECES[:-1])
    )
    done = gpu_script(tmp_path, 0)
    assert (done.returncode, "call again" in done.stdout) == (75, True), done.stderr
    with (tmp_path / "pieces.txt").open("a") as file:
        file.write("train: exit status 0 after 1 s\n")
    assert gpu_script(tmp_path, 0).returncode == 0
    (tmp_path / "pieces.txt").write_text(
        "ppo: exit status 1 after 1 s\n" + (tmp_path / "pieces.txt").read_text()
    )
    assert gpu_script(tmp_path, 0).returncode == 1


@pytest.mark.slow
def test_the_script_for_gpus_measures_compares_and_trains(tmp_path):
    preset = tmp_path / "small.yaml"
    preset.write_text(
        (REPOSITORY / "configs" / "bench_smoke.yaml").read_text() + "ppo_total_timesteps: 1280\n"
    )
    folder = tmp_path / "gpu"
    folder.mkdir()
    # Of these there is another of the same kind.
    (folder / "pieces.txt").write_text(
        "".join(f"{each}: exit status 0 \n" for each in ("repeats-ppo", "inference"))
    )
    done = gpu_script(folder, 120, preset)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ended(folder) == dict.fromkeys(PIECES, "0")
    told = (folder / "repeats-gradient.txt").read_text()  # on CPUs the flag changes nothing
    repeats = re.findall(r"deterministic_ops=(\w+), 2 processes: (\w+)", told)
    assert repeats == [("true", "equal"), ("false", "equal")]
    rows = pl.read_parquet(folder / "bench.parquet")
    assert rows["case"].to_list() == ["gradient", "env_step", "ppo"]
    assert (rows["flops_share"] > 0).to_list() == [True, False, True]  # games multiply no matrices
    assert "env_step" in (folder / "graphs-gain.txt").read_text()
    assert (folder / "ppo" / "run.json").is_file()


def test_the_papers_hours_are_in_its_page():
    """A change of presets or scale changes them: `python -m benchmarks.hours` prints the table anew."""
    plan = Plan.load(REPOSITORY / "workflow_config.yaml", {"scale": "paper"})
    assert hours_table(plan) in (REPOSITORY / "docs" / "paper.md").read_text()


def test_hours_follow_from_frames_bytes_and_kernels():
    def of(preset, model=OfflineConfig, **keys):
        return build(model, [*base_layers(preset), Layer("test", {"ppo_checkpoint_path": "x", **keys})])

    usual = of("final_classic_ucl")
    costs = Costs(H100, usual.env.env_name, usual.denoiser, "float32")
    half = Costs(H100, usual.env.env_name, usual.denoiser, "bfloat16")
    # 34 tokens x 6 layers x (10 x 384 + 3 x 768 + 2 x 8 x 34) numbers, 11 times, for 512 x 97 / 8 windows.
    assert costs.gradient(6208) == pytest.approx(4 * 34 * 6 * 6688 * 11 * 6208 / 3.35e12)
    assert costs.gradient(6208) == 2 * half.gradient(6208)
    # A few plans are as many kernels as any: 6 x 12 + 25 of them.
    assert costs.call(1) == costs.call(50) == half.call(100) == pytest.approx(97 * 3e-6)
    twice = of("final_classic_ucl", offline_total_timesteps=2e8)
    ratio = seconds(twice, costs) / seconds(usual, costs)
    assert ratio == pytest.approx(twice.num_updates / usual.num_updates)
    tenth = seconds(of(None, PPOConfig, ppo_total_timesteps=1e8), costs)
    assert tenth == pytest.approx(seconds(of(None, PPOConfig), costs) / 10, rel=1e-3)
