"""The pipeline through a real Slurm, its jobs cancelled and out of time, and what a bad setting gives.

Its jobs play a small game in place of Craftax, but for those that `srun` starts.
"""

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from datetime import datetime

import pytest
import yaml

from remdm.training.loop import train
from tests.conftest import REPOSITORY
from tests.devices import algorithm_of, assert_alike, run_of, start
from tests.kill import compare, read_metrics, updates_saved
from tests.slurm import cluster, missing
from tests.smallest import GAME, ONLINE_ALONE, SMALLEST, SNAKEMAKE, stand_in, write_config

pytestmark = pytest.mark.slow

EXPERT = f"results/{GAME}/ppo/ppo_rnn/s0"
RANDOM = f"results/{GAME}/inference/random/s0"
UPDATES = 2000


@pytest.fixture(autouse=True)
def _slurm_is_here():
    if reason := missing():
        # CI installs it (.ci/run), so there its absence is an error.
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no Slurm can be started here: {reason}")


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """Starts `snakemake --profile slurm` on the profile of record with a small machine's numbers."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    @contextmanager
    def start(folder, *arguments, **settings):
        profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())
        profile["default-resources"] |= {"cpus_per_task": 1, "mem_mb": 1500, "runtime": 10}
        for stage, resources in profile["set-resources"].items():
            resources |= {"cpus_per_task": 1, "mem_mb": 4000, "runtime": 10, **settings.get(stage, {})}
        profile |= {"slurm-init-seconds-before-status-checks": 2, "latency-wait": 15}
        place = tmp_path / "config" / "snakemake" / "slurm" / "config.yaml"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(yaml.safe_dump(profile))
        command = [*SNAKEMAKE, *arguments, "--profile", "slurm", "--directory", str(folder)]
        with (tmp_path / "snakemake.log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=stand_in()
            )
        try:
            yield process
        finally:  # before its jobs are cancelled, which it would submit again
            process.kill()
            process.wait()

    return start


def jobs(rule):
    """Slurm's jobs of a rule, the oldest first: number, state, and when it must end."""
    ask = ["squeue", "--noheader", "--states=all", "--sort=i", "--format=%i %T %e %k"]
    lines = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split() for line in lines if f"rule_{rule}_" in line]
    return [(number, state, end) for number, state, end, _ in rows]


def test_a_cancelled_job_and_one_out_of_time_end_as_an_uninterrupted_run(tmp_path, submit):
    """The whole pipeline, its expert's training in three jobs: cancelled, out of time, and done."""
    overrides = {key: value for key, value in SMALLEST.items() if key not in ONLINE_ALONE}
    overrides["ppo_total_timesteps"] = 128 * UPDATES
    config = write_config(tmp_path / "long.yaml", overrides, ["offline"], checkpoint_every_minutes=1e-3)
    given = ["--configfile", str(config)]
    folder = tmp_path / "slurm"
    folder.mkdir()

    arguments = ["results/paper/report.html", *given]
    settings = {"ppo": {"runtime": "2 if attempt == 2 else 10"}, "inference": {"gpu": 0}}

    with cluster(), submit(folder, *arguments, **settings) as process:

        def wait_for_more_than(updates):
            while updates_saved(folder, whole=True) <= updates:
                assert process.poll() is None, (tmp_path / "snakemake.log").read_text()[-3000:]
                time.sleep(0.05)

        wait_for_more_than(0)
        cancelled = jobs("ppo")[-1][0]
        subprocess.run(["scancel", cancelled], check=True)
        while (folder / EXPERT / ".lock").exists():  # it saves its state
            time.sleep(0.05)
        wait_for_more_than(updates_saved(folder, whole=True))
        local = ["--directory", str(tmp_path / "whole"), f"{EXPERT}/run.json", *given]
        # The second job is held until its time is nearly over, unless it is already, on a slow machine.
        whole = subprocess.Popen([*SNAKEMAKE, *local], env=stand_in())
        with whole as uninterrupted, suppress(OSError):
            training = int((folder / EXPERT / ".lock").read_text().split()[1])
            _, state, end = jobs("ppo")[1]
            if state == "RUNNING":
                os.kill(training, signal.SIGSTOP)
                time.sleep(max(0.0, datetime.fromisoformat(end).timestamp() - time.time() - 20))
                os.kill(training, signal.SIGCONT)
        assert uninterrupted.returncode == 0
        assert process.wait() == 0, (tmp_path / "snakemake.log").read_text()[-3000:]

        logs = folder / "logs" / "slurm" / "rule_ppo" / f"{GAME}_ppo_rnn_0"
        states = {number: state for number, state, _ in jobs("ppo")}
        messages = {number: (logs / f"{number}.log").read_text() for number in states}
        assert states[cancelled] == "CANCELLED"
        assert "stopped by SIGTERM after update" in messages[cancelled]
        late = next(number for number in states if "stopped by the time limit" in messages[number])
        assert states[late] == "FAILED"  # not TIMEOUT: it ended by itself
        stopped = re.search("stopped by the time limit after update ([0-9]+)", messages[late])
        following = next(number for number in states if int(number) > int(late))
        assert f"resuming from update {stopped[1]} of {UPDATES}" in messages[following]
        asked = subprocess.run(["scontrol", "show", "job"], capture_output=True, text=True).stdout
    compare(tmp_path / "whole" / EXPERT, folder / EXPERT)
    assert (folder / "results/paper/report.html").stat().st_size > 3_000
    assert not list((folder / "state").iterdir())
    for job in asked.split("\n\n"):
        if "Comment=" in job:
            asks = re.search("Comment=rule_(ppo|collect|offline)_", job) is not None
            assert (re.search("gres.gpu", job) is not None) == asks, job


def test_processes_that_srun_starts_are_one_run(tmp_path):
    with (
        cluster(),
        start("two", tmp_path / "two", 2, "srun", "--ntasks=2", "--mem-per-cpu=3000") as processes,
    ):
        output, _ = processes.communicate()
    assert processes.returncode == 0, output[-3000:]
    train(algorithm_of("online"), 0, run_of(tmp_path / "one"))
    assert_alike(read_metrics(tmp_path / "two" / "run0"), read_metrics(tmp_path / "one" / "run"))
    assert not (tmp_path / "two" / "run1").exists()


def test_what_slurm_refuses_is_named_and_other_branches_go_on(tmp_path, submit):
    given = [f"{EXPERT}/run.json", f"{RANDOM}/summary.json", "--retries", "0"]
    given += ["--configfile", str(write_config(tmp_path / "smallest.yaml"))]
    log = tmp_path / "snakemake.log"

    def refusals(**ppo):
        with submit(tmp_path, *given, ppo=ppo, inference={"gpu": 0}) as process:
            assert process.wait() == 1
        assert not (tmp_path / EXPERT / "run.json").exists()
        return [line for line in log.read_text().splitlines() if line.startswith("error: ")]

    with cluster(gpus=False):
        assert refusals() == [
            "error: Slurm refused ppo: Invalid generic resource (gres) specification; in "
            "profiles/slurm/config.yaml, gpu must be 0 on a cluster without GPUs"
        ]
        # Who asked for nothing that is missing has run, and stays.
        finished = (tmp_path / RANDOM / "run.json").stat().st_mtime_ns
        assert refusals(gpu=0, slurm_partition="nowhere") == [
            "error: Slurm refused ppo: invalid partition specified: nowhere; in "
            "profiles/slurm/config.yaml, slurm_partition must be one of those of `sinfo -o %R`"
        ]
        assert (tmp_path / RANDOM / "run.json").stat().st_mtime_ns == finished
