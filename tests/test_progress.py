"""How far a scale is, by files: written by hand, and beside a running Snakemake."""

import os
import socket
import subprocess
import sys
import time

import pytest

from remdm.base.holder import holder_in, holder_of
from remdm.base.state import STATE
from remdm.cli import main
from remdm.training.lock import locked
from remdm.workflow.plan import Job, Plan
from remdm.workflow.progress import Progress, duration, log_of, progress_of
from tests.conftest import REPOSITORY
from tests.smallest import OFFLINE_ALONE, SMALLEST, SNAKEMAKE, stand_in, write_config
from tests.test_analysis import GAME, Results
from tests.test_report import data_of, table_of

HERE = socket.gethostname()


@pytest.fixture(scope="module")
def plan():
    return Plan.load(REPOSITORY / "workflow_config.yaml", {"scale": "demo"})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "workflow_config.yaml").symlink_to(REPOSITORY / "workflow_config.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(stage, name):
    return Job(GAME, stage, name, 0)


def finish(folder, plan, *jobs):
    """Results of jobs as they would be made now."""
    results = Results(folder)
    for done in jobs:
        make = results.evaluate if done.stage == "inference" else lambda env, name, **about: results.train(
            env, done.stage, name, **about  # noqa: B023
        )  # fmt: skip
        make(done.env, done.name, digest=plan.digest(done))


def begin(plan, job, holder, parts=(), age=0.0):
    """The state of a job, held by a process; parts of its metrics, a minute apart, the last of some age."""
    state = STATE / plan.digest(job)
    (state / "metrics" / "r0").mkdir(parents=True)
    (state / ".lock").write_text(f"{holder}\n")
    for i, update in enumerate(reversed(parts)):
        part = state / "metrics" / "r0" / f"{update:012d}.parquet"
        part.touch()
        os.utime(part, (time.time() - age - 60 * i,) * 2)
    for path in (state, state / ".lock"):
        os.utime(path, (time.time() - age,) * 2)


def say(path, *lines, age=3600.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, (time.time() - age,) * 2)


def found(plan, job):
    return next(one for one in progress_of(plan) if one.job == job)


def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_job_that_is_made_is_done_and_others_wait_for_it(plan, folder):
    ppo, offline, played = job("ppo", "ppo"), job("offline", "demo"), job("inference", "offline-demo")
    assert found(plan, ppo) == Progress(ppo, "waiting")
    assert found(plan, offline) == Progress(offline, "waiting", "for ppo ppo s0")
    assert found(plan, played) == Progress(played, "waiting", "for offline demo s0")
    finish(folder, plan, ppo)
    assert found(plan, ppo) == Progress(ppo, "done")
    assert found(plan, offline) == Progress(offline, "waiting")
    record = folder / ppo.record
    record.write_text(record.read_text().replace(plan.digest(ppo), "another"))
    assert found(plan, ppo) == Progress(ppo, "waiting", "made with other keys or code")


def test_a_training_says_how_far_it_is_and_how_long_it_takes(plan, folder):
    """Ten updates a minute; of 195, 120 are done."""
    online = job("online", "demo")
    begin(plan, online, f"process {os.getpid()} on {HERE}", parts=range(10, 121, 10))
    assert found(plan, online).state == "running"
    assert found(plan, online).note == "62% of 195 updates, 7.5 min left"


def test_a_job_of_another_host_says_where_it_is_and_since_when_it_is_quiet(plan, folder):
    ppo, film = job("ppo", "ppo"), job("film", "random")
    begin(plan, ppo, "process 1 on node7", parts=[10], age=7200)
    assert found(plan, ppo).note == "3% of 390 updates, on node7, no sign of it for 2.0 h"
    begin(plan, film, "process 1 on node7", age=120)
    assert found(plan, film).note == "for 2.0 min, on node7"


def test_a_job_that_failed_says_why(plan, folder):
    online, offline = job("online", "demo"), job("offline", "demo")
    finish(folder, plan, job("ppo", "ppo"))
    say(log_of(online), "12:00:00  online: seed 0", "12:00:01  error: lr = 9: training has diverged")
    say(
        log_of(offline),
        *("12:00:00  offline failed", "Traceback (most recent call last):", "  File ...", "ValueError: 3"),
    )
    assert found(plan, online).text == f"failed, error: lr = 9: training has diverged ({log_of(online)})"
    assert found(plan, offline).text == f"failed, ValueError: 3 ({log_of(offline)})"
    assert found(plan, job("inference", "online-demo")).note == "for online demo s0, which failed"
    # What is done since then is done, and what is at work again runs.
    begin(plan, offline, f"process {os.getpid()} on {HERE}")
    assert found(plan, offline).state == "running"
    finish(folder, plan, online)
    assert found(plan, online).state == "done"
    # A log that is older than the results, which other keys have made stale, says nothing of now.
    record = folder / online.record
    record.write_text(record.read_text().replace(plan.digest(online), "another"))
    assert found(plan, online).state == "waiting"


def test_a_job_that_was_killed_resumes(plan, folder):
    ppo = job("ppo", "ppo")
    begin(plan, ppo, f"process {ended()} on {HERE}", parts=[39, 78])
    say(log_of(ppo), "12:00:00  ppo   20%  319,488/1,597,440 frames")
    assert found(plan, ppo).text == "stopped, resumes when it is called again; 20% of 390 updates"
    slurm = folder / "logs" / "slurm" / "rule_ppo" / f"{GAME}_ppo_0"
    say(slurm / "6.log", "slurmstepd: error: an older one", age=7200)
    say(
        slurm / "7.log",
        "slurmstepd: error: *** JOB 7 CANCELLED DUE TO TIME LIMIT ***",
        "[a line of Snakemake]",
    )
    assert found(plan, ppo).note.endswith("; *** JOB 7 CANCELLED DUE TO TIME LIMIT ***")
    say(log_of(ppo), "12:00:00  ppo: seed 0", age=0)  # another attempt, which has not come to its folders yet
    assert found(plan, ppo).text == "running, starting"


def test_who_holds_a_folder_is_read_and_not_asked(tmp_path):
    with locked(tmp_path):
        holder = holder_of(tmp_path)
        assert (holder.process, holder.host, holder.has_ended) == (os.getpid(), HERE, False)
    assert holder_of(tmp_path) is None
    assert holder_in(f"process {ended()} on {HERE}\n").has_ended
    assert not holder_in("process 1 on elsewhere\n").has_ended
    assert holder_in("anything else") is None


def test_durations():
    texts = ["50 s", "89 s", "1.5 min", "89.0 min", "1.5 h", "35.0 h", "2.0 d"]
    assert [duration(seconds) for seconds in (50, 89, 90, 5340, 5400, 126_000, 172_800)] == texts


def test_the_command_lists_all_jobs_and_draws_what_there_is(plan, folder, capsys):
    finish(folder, plan, job("ppo", "ppo"), job("inference", "ppo"))
    say(log_of(job("online", "demo")), "12:00:00  error: \x1b[31m<b>no</b>")
    page = folder / "now.html"
    assert main(["status", "--report", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(plan.jobs) + 2
    assert lines[0] == f"done     results/{GAME}/ppo/ppo/s0"
    assert lines[-3] == (
        f"failed   results/{GAME}/online/demo/s0  error: \\x1b[31m<b>no</b> (logs/{GAME}/online/demo/s0.log)"
    )
    assert lines[-2] == (
        f"demo: 17 jobs: 2 done, 14 waiting, 1 failed; 0 of {len(plan.figures)} figures drawn"
    )
    text = page.read_text()
    assert [run["title"] for run in data_of(page)["runs"]] == ["ppo ppo, seed 0", "inference ppo, seed 0"]
    states = {row[0]: row[1] for row in table_of(text, "runs")[1:]}
    assert len(states) == len(plan.jobs)
    assert states["offline demo s0"] == "waiting"
    assert states["online demo s0"].startswith("failed, error: ")
    _, *rows = table_of(text, "evaluation")
    assert {row[0]: row[1] for row in rows}[
        "DAgger (demo)"
    ] == "seed 0: waiting, for online demo s0, which failed"
    assert "<b>no" not in text


def test_nothing_done_is_no_report(folder, capsys):
    assert main(["status", "--report", "now.html"]) == 2
    assert "error: --report now.html: no job of demo is done yet" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_asked_beside_a_running_snakemake(tmp_path, monkeypatch):
    overrides = {key: value for key, value in SMALLEST.items() if key not in OFFLINE_ALONE}
    config = write_config(tmp_path / "workflow_config.yaml", overrides, ["online"])
    plan = Plan.load(config, {})
    online = job("online", "demo")
    arguments = [online.record, "--directory", str(tmp_path), "--configfile", str(config)]
    monkeypatch.chdir(tmp_path)
    seen = set()
    with (tmp_path / "said").open("w") as said:
        running = subprocess.Popen([*SNAKEMAKE, *arguments], env=stand_in(), stdout=said, stderr=said)
        while running.poll() is None:
            seen |= {progress.text.split(",")[0] for progress in progress_of(plan) if progress.job == online}
            time.sleep(0.05)
    assert running.returncode == 0, (tmp_path / "said").read_text()[-4000:]
    assert seen >= {"waiting", "running"}
    assert found(plan, online).state == "done"
