"""Real training processes that are killed, starved of disk, extended and tracked; on the toy game."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from remdm import cli
from remdm.base.errors import UserError
from remdm.base.state import noted_results
from remdm.training import checkpoint
from tests import kill
from tests.compiling import quick_environment
from tests.conftest import REPOSITORY
from tests.test_keys import config_of


def test_the_page_names_tests_that_there_are():
    named = re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "reliability.md").read_text())
    sources = "".join(path.read_text() for path in (REPOSITORY / "tests").glob("test_*.py"))
    assert len(named) > 50
    assert [name for name in named if f"def {name}(" not in sources] == []


def test_killed_once_and_none_the_worse(tmp_path):
    """SIGKILL at a random moment of PPO; the result is bit for bit that of a run in peace."""
    assert len(kill.kill_and_compare("ppo", "toy", 1, 0, tmp_path, updates=200)) == 1


@pytest.mark.slow
def test_killed_three_times_and_none_the_worse(tmp_path):
    """SIGKILL at random moments of PPO, offline BC and DAgger; all results are bit for bit the same."""
    stages = ("ppo", "offline", "online")
    with ThreadPoolExecutor(len(stages)) as threads:
        killed = [
            threads.submit(kill.kill_and_compare, stage, "toy", 3, seed, tmp_path / stage)
            for seed, stage in enumerate(stages)
        ]
    assert [len(moments.result()) for moments in killed] == [3, 3, 3]


def test_a_comparison_sees_a_difference(tmp_path):
    """The script above could not fail if it did not."""
    for name, value in (("one", 1.0), ("two", 1.0 + 1e-7)):
        (tmp_path / name).mkdir()
        pl.DataFrame({"update": [1], "seconds": [1.0]}).write_parquet(tmp_path / name / "metrics.parquet")
        checkpoint.save(tmp_path / name / "checkpoint", {"params": {"a": [value]}}, {})
    kill.compare(tmp_path / "one", tmp_path / "one")
    with pytest.raises(AssertionError, match="checkpoint/params"):
        kill.compare(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    arguments = kill.command("online", "toy", tmp_path, None)
    # So many that none of the processes below comes near the end.
    arguments[arguments.index("--online_total_timesteps") + 1] = str(10**6 * kill.PER_UPDATE)
    process = kill.start(arguments, tmp_path)
    kill.wait_until_training(process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, messages
    assert "the same command with --seed 0 resumes after update" in messages
    assert not (tmp_path / "out" / "run.json").exists()

    # While it goes on, nobody else may.
    process = kill.start(arguments, tmp_path)
    kill.wait_until_training(process)
    other = kill.start(arguments, tmp_path)
    _, refusal = other.communicate()
    assert other.returncode == 2
    assert f"in use by process {process.pid} on" in refusal
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_closed_terminal_loses_nothing(tmp_path):
    """As of a laptop whose ssh ends: the terminal is gone, and what is drawn on it goes nowhere."""
    arguments = kill.command("ppo", "toy", tmp_path, None)
    arguments[arguments.index("--ppo_total_timesteps") + 1] = str(10**6 * kill.PER_UPDATE)
    arguments += ["--progress", "true", "--checkpoint_every_minutes", "60"]
    ours, theirs = pty.openpty()

    def lead():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it was ignored
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        arguments, cwd=tmp_path, env=quick_environment(PYTHONPATH=str(REPOSITORY)),
        stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=lead,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"frames/s" not in shown and b"/s" not in shown.split(b"compiled in")[-1]:
        shown += os.read(ours, 4096)
    os.close(ours)
    assert process.wait() == 128 + signal.SIGHUP, shown[-2000:]
    assert kill.updates_saved(tmp_path) > 0
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_state_before_it_stays(tmp_path):
    """No file may grow beyond 20 KB: metrics fit, the arrays of a state do not."""
    arguments = kill.command("ppo", "toy", tmp_path, None)
    arguments[arguments.index("--layer_size") + 1] = "128"
    arguments += ["--compilation_cache_dir", "null"]  # nor would it take what is compiled
    arguments[arguments.index("--ppo_total_timesteps") + 1] = str(20 * kill.PER_UPDATE)
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "limited", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(limited, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "training continues, and the snapshot before it is kept" in done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "checkpoint: cannot be written" in error
    assert "File too large" in error
    assert not list((tmp_path / "out").glob("*checkpoint*"))


def test_two_runs_in_one_folder(make_run):
    config = config_of("online")
    with make_run() as first:
        first.open(config)
        assert noted_results(first.state) == str(first.folder)
        with make_run() as second, pytest.raises(UserError, match=f"in use by process {os.getpid()} on "):
            second.open(config)
    with make_run() as third:
        third.open(config)


@pytest.fixture
def toy_command(tmp_path, monkeypatch, capsys):
    """Runs a mode in-process, in a folder of its own, with the toy game; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(stage, *extra, status=0):
        arguments = kill.command(stage, "toy", tmp_path, None)
        arguments = arguments[arguments.index(stage) : -2]
        assert kill.run_toy([*arguments, *extra]) == status
        return capsys.readouterr().err

    return run


@pytest.mark.slow
def test_a_finished_run_is_extended_in_its_own_wandb_run(toy_command, tmp_path, monkeypatch):
    """As the specification says, through the command; the real client records offline."""
    secret = "0123456789abcdef" * 3
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("WANDB_MODE", "offline")
    small = ["--val_interval", "100", "--checkpoint_every_minutes", "10", "--use_wandb", "true"]
    small += ["--dagger_buffer_cycles", "100"]
    frames = kill.PER_UPDATE
    toy_command("online", *small, "--online_total_timesteps", str(6 * frames), "--output", "first")
    first = json.loads((tmp_path / "first" / "run.json").read_text())
    path = str(tmp_path / "first" / "checkpoint")
    more = [*small, "--online_total_timesteps", str(10 * frames), "--resume_checkpoint_path", path]
    toy_command("online", *more, "--output", "more")
    table = pl.read_parquet(tmp_path / "more" / "metrics.parquet")
    assert table["update"].to_list() == [7, 8, 9, 10]
    # The buffer went on where it was, with room for all of the longer run; and beta follows the new budget.
    assert table["dagger/buffer_fill"].to_list() == pytest.approx([0.7, 0.8, 0.9, 1.0])
    assert table["dagger/beta"].to_list() == pytest.approx([0.2 ** (k / 10) for k in (6, 7, 8, 9)])
    again = json.loads((tmp_path / "more" / "run.json").read_text())
    assert again["wandb_run_id"] == first["wandb_run_id"]
    recorded = [folder.name for folder in (tmp_path / "wandb").glob("offline-run-*")]
    assert len(recorded) == 2
    assert all(name.endswith(first["wandb_run_id"]) for name in recorded)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file

    told = toy_command("online", *more, "--resume_step", "10", "--output", "x", status=2)
    assert "resume_step = 10: the budget is 10 updates; raise online_total_timesteps" in told
    told = toy_command("online", *more, "--d_model", "32", "--output", "x", status=2)
    assert "array algorithm/learner" in told
    assert told.count("\n") == told.count("\n", 0, told.index("error: ")) + 1
    told = toy_command("online", *more, "--checkpoint_buffer", "false", "--output", "bare")
    bare = str(tmp_path / "bare" / "checkpoint")
    third = [*small, "--online_total_timesteps", str(12 * frames), "--resume_checkpoint_path", bare]
    assert "starts empty and refills" in toy_command("online", *third, "--output", "third")


@pytest.mark.slow
def test_an_evaluation_needs_no_matching_configuration(toy_command, tmp_path, capsys):
    """Game, network and kind of policy come from the checkpoint; a contradicting preset is told so."""
    frames = str(3 * kill.PER_UPDATE)
    toy_command("online", "--online_total_timesteps", frames, "--output", "trained")
    path = str(tmp_path / "trained" / "checkpoint")
    (tmp_path / "mine.yaml").write_text("d_model: 48\neval_steps: 64\neval_num_envs: 4\n")
    cache = ["--compilation_cache_dir", str(REPOSITORY / ".tests-cache"), "--use-wandb", "false"]
    arguments = ["inference", "--config", "mine.yaml", "--checkpoint_path", path, "--seed", "1", *cache]
    assert kill.run_toy([*arguments, "--output", "played"]) == 0
    assert "mine.yaml: d_model = 48: ignored; the checkpoint has 16" in capsys.readouterr().err
    assert (tmp_path / "played" / "summary.json").exists()
    assert kill.run_toy([*arguments, "--env_name", "Craftax-Symbolic-v1", "--output", "x"]) == 2
    assert "its env_name is Craftax-Classic-Symbolic-v1" in capsys.readouterr().err

    assert cli.main(["show", path]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "W&B" not in line)
    assert shown["kind"] == "planner"
    assert shown["d_model"] == "16"
    assert shown["trained"] == f"3 updates, {frames} frames"
    assert "from its whole state, buffer included" in shown["resumable"]
    next((tmp_path / "trained" / "checkpoint" / "params").rglob("manifest*")).write_bytes(b"x")
    assert cli.main(["show", path]) == 2
    assert "is damaged or missing" in capsys.readouterr().err


def test_smoke_ends_with_a_summary_and_finds_what_is_not_finite(tmp_path, monkeypatch):
    from remdm.stages.smoke import _summarise

    names = ("diffusion/loss", "diffusion/grad_norm", "dagger/reward_mean", "val/score")
    table = pl.DataFrame({"update": [1, 2], "env/gap": [None, 1.0]})
    table = table.with_columns(pl.Series(name, [1.0, 0.5]) for name in names)
    _summarise(table)
    for bad in (float("nan"), float("inf"), None):
        with pytest.raises(UserError, match=r"smoke: diffusion/grad_norm = .* at update 2"):
            _summarise(table.with_columns(pl.Series("diffusion/grad_norm", [1.0, bad])))
    for name in names:
        with pytest.raises(UserError, match=f"smoke: {name} is missing"):
            _summarise(table.drop(name))
