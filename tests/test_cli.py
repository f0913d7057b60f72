"""The command: what a user mistypes is one line and exit status 2, before anything is compiled."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from remdm import cli
from remdm.base.state import STATE, note_results
from remdm.commands.configuration import call_of, configured
from remdm.commands.stage import refuse_another_run
from remdm.config.stages import STAGES
from tests.conftest import REPOSITORY

BAD = [
    (["offline", "--lrr", "1"], "unknown flag --lrr (did you mean --lr"),
    (["ofline"], "'ofline'"),
    (["offline", "--lr", "fast"], "command line: lr = 'fast'"),
    (["offline", "--plan-horizon", "99"], "command line: plan_horizon = 99"),
    (["offline", "--num_minibatches=1e6"], "command line: num_minibatches = 1000000"),
    (["inference", "--plan_horizon=8"], "--plan_horizon: has no effect in this mode"),
    (["offline", "--config", "demoo"], "did you mean demo"),
    (["offline", "--config", "missing.yaml"], "missing.yaml: no such file"),
    (["offline", "--ppo-checkpoint-path", "/nowhere"], "ppo_checkpoint_path = /nowhere: no such folder"),
    (["inference", "--checkpoint_path", "/nowhere"], "checkpoint_path = /nowhere: no such folder"),
    (["offline"], "ppo_checkpoint_path = null"),
    (["ppo", "--progress", "maybe"], "command line: progress = 'maybe'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: " ".join(value)[:40])
def test_bad_input_is_one_line_and_touches_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_refuses_without_starting_jax(tmp_path):
    code = (
        "import sys; from remdm.cli import main; status = main(['offline', '--lr', 'x']); "
        "assert 'jax' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def notes(*arguments):
    return configured(call_of(cli._parser().parse_args(arguments)))[2]


def test_flags_of_no_account_are_pointed_out():
    effect = "has no effect with the other keys given"
    assert notes("ppo", "--rnd_reward_coef", "5") == [f"command line: rnd_reward_coef = 5 {effect}"]
    assert notes("ppo", "--rnd_reward_coef", "5", "--ppo_model_type", "ppo_rnd") == []
    arguments = ["inference", "--eta", "0.9", "--policy"]
    assert notes(*arguments, "expert") == [f"command line: eta = 0.9 {effect}"]
    assert notes(*arguments, "planner") == []


def test_a_preset_may_hold_keys_of_other_choices(tmp_path):
    """Its sampler is of no account to an expert, and rightly there for the planners."""
    preset = tmp_path / "mine.yaml"
    preset.write_text("eta: 0.9")
    assert notes("inference", "--config", str(preset), "--policy", "expert") == []


@pytest.mark.parametrize("mode", STAGES)
def test_help_names_every_key_within_80_columns(mode, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        cli.main([mode, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{key} " in text for key in STAGES[mode].model.owners())
    assert max(map(len, text.splitlines())) <= 80


def test_hyphens_and_underscores_are_the_same_in_flags_alone():
    assert cli._underscored("--plan-horizon=a-b") == "--plan_horizon=a-b"
    assert cli._underscored("--plan-horizon") == "--plan_horizon"
    assert cli._underscored("a-b") == "a-b"
    assert cli._underscored("-1") == "-1"


def test_the_results_of_another_run_are_not_overwritten(tmp_path):
    refuse_another_run("ppo", tmp_path, "mine")  # nothing is there yet
    (tmp_path / "run.json").write_text('{"digest": "mine"}')
    refuse_another_run("ppo", tmp_path, "mine")
    with pytest.raises(cli.UserError, match="holds the results of another run; name another folder"):
        refuse_another_run("ppo", tmp_path, "another")


@pytest.mark.parametrize("name", ["checkpoint", "metrics.parquet", "curves.png", "r1/checkpoint", "run.json"])
def test_what_is_no_result_of_the_run_is_not_overwritten(name, tmp_path, monkeypatch):
    """Such as a checkpoint that was copied there, or results whose record is damaged or gone."""
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    (out / name).parent.mkdir(parents=True)
    (out / name).touch()
    (out / "notes.txt").touch()
    refusal = f"out: holds {Path(name).name} of no known run; name another folder with --output"
    with pytest.raises(cli.UserError, match=refusal):
        refuse_another_run("ppo", out, "mine")
    note_results(STATE / "mine", tmp_path / "out")  # a kill between the checkpoint and its record
    refuse_another_run("ppo", out, "mine")
    with pytest.raises(cli.UserError, match=refusal):
        refuse_another_run("ppo", out, "another")
    note_results(STATE / "mine", tmp_path / "elsewhere")
    with pytest.raises(cli.UserError, match=refusal):
        refuse_another_run("ppo", out, "mine")


def test_parameters_of_presets_are_counted(tmp_path, capsys):
    """As many as `tests/public_planner` has, whose sizes these are; and presets are named after theirs."""
    sizes = {"plan_horizon": 8, "d_model": 32, "n_heads": 2, "n_layers": 1, "d_ff": 64}
    sizes |= {"obs_encoder_layers": 1, "obs_encoder_width": 64}
    mine = tmp_path / "mine.yaml"
    mine.write_text("".join(f"{key}: {value}\n" for key, value in sizes.items()))
    named = {"classic_exp_d_100K": 1e5, "classic_exp_d_850K": 8.5e5, "craftax_exp_d_7M": 7e6}
    assert cli.main(["params", str(mine), *named]) == 0
    _, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    counts = {preset: int(planner.replace(",", "")) for preset, planner, _, _ in lines}
    assert counts.pop(str(mine)) == 100_209
    assert counts == {name: pytest.approx(count, rel=0.25) for name, count in named.items()}
    assert cli.main(["params", "classic_exp_d_100k"]) == 2
    assert "did you mean classic_exp_d_100K" in capsys.readouterr().err


def test_a_reader_that_has_enough_gets_no_traceback():
    """As in `remdm keys | head -1`, whose reader closes the pipe."""
    command = [sys.executable, "-P", "-m", "remdm.cli", "keys"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE
