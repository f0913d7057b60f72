"""Whatever stands in a configuration: one line that names the file, exit status 2, and nothing started."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remdm import cli
from remdm.base.errors import ConfigError
from remdm.base.reader import read_mapping
from remdm.config.layers import ALL_KEYS, Layer, base_layers, build, configs_folder
from remdm.config.ppo import PPOConfig
from remdm.config.reference import all_keys
from remdm.config.stages import STAGES
from tests.conftest import REPOSITORY

DEFAULTS = read_mapping(configs_folder() / "defaults.yaml")
KEYS = sorted(DEFAULTS)
KINDS = {name: key.kind for name, key in all_keys().items()}
NUMBERS = [key for key in KEYS if KINDS[key].startswith(("number", "integer")) and key != "seed"]
TRAINING = ["ppo", "offline", "online"]


@st.composite
def misspelt(draw):
    """A key with a letter doubled, dropped or changed."""
    key = draw(st.sampled_from(KEYS))
    i = draw(st.integers(0, len(key) - 1))
    wrong = [key[:i] + key[i] + key[i:], key[:i] + key[i + 1 :], key[:i] + "q" + key[i + 1 :]]
    changed = draw(st.sampled_from(wrong))
    if changed in ALL_KEYS or not changed:
        changed = key + "_q"
    return {changed: DEFAULTS[key]}, changed


@st.composite
def mistyped(draw):
    """A value of a type that no key of its kind takes."""
    key = draw(st.sampled_from(NUMBERS))
    value = draw(st.sampled_from(["many", [1], {"a": 1}, "1e", True, "0x"]))
    return {key: value}, key


@st.composite
def out_of_range(draw):
    key = draw(st.sampled_from(NUMBERS))
    value = draw(st.sampled_from([-1, -0.5, float("nan"), float("inf"), float("-inf")]))
    return {key: value}, key


CONTRADICTIONS = [
    ("offline", {"plan_horizon": 64, "num_steps": 32}, "plan_horizon"),
    ("offline", {"n_heads": 5}, "n_heads"),
    ("offline", {"t_on": 0.2, "t_off": 0.4}, "t_off"),
    ("offline", {"num_minibatches": 10**6}, "num_minibatches"),
    ("offline", {"lr_warmup_frames": 10**9}, "lr_warmup_frames"),
    ("offline", {"val_replan_every": 40}, "val_replan_every"),
    ("online", {"dagger_buffer_max": 5}, "dagger_buffer_max"),
    ("online", {"dagger_beta_init": 0.2, "dagger_beta_final": 0.5}, "dagger_beta_final"),
    ("online", {"dagger_replan_every": 7}, "dagger_replan_every"),
    ("ppo", {"ppo_num_minibatches": 7}, "ppo_num_minibatches"),
    ("ppo", {"resume_step": 4}, "resume_step"),
    ("collect", {"collect_num_steps": 5}, "collect_num_steps"),
    ("inference", {"diffusion_steps_eval": 2}, "diffusion_steps_eval"),
]
MALFORMED = [
    b"lr: [1", b"lr: 'a", b"a: b: c", b"- lr", b"[]", b"lr", b"3", b"\xff\xfe\x00", b"lr: \x00", b"\tlr: 1",
    b"lr: 1\nlr: 2", b"? [a]\n: 1", b"1: 2", b"lr: !!python/object/apply:os.system [echo]",
    b"lr: &a [*a]", b"<<: 3", b"lr: *x", b"{" * 2000, b"lr: 1\n...\n---\nlr: 2", b"null: 1",
    b"%YAML 9.9\n---\nlr: 1",
    b"a: &a [x, x]\nb: &b [*a, *a]\nlr: [*b, *b]", b"lr: !!int x", b"lr: !!bool x", b"lr: !!timestamp x",
    b"lr: !!str 1", b"lr: 2024-13-45", b"lr: 2024-01-01", b"lr: " + b"9" * 5000, b"lr: 0x" + b"f" * 5000,
    b"num_envs: 0b" + b"1" * 20000, b"lr: 0x_", b"lr: 9" + b":59" * 200 + b".0", b"lr: " + b"9" * 400,
    b"#" * 2**17 + b"\nlr: 1", b"lr: " + b"[" * 60_000, b"lr: " + b"[" * 60 + b"]" * 60,
    b'wandb_download_dir: "\\ud800"', b'wandb_download_dir: "a\\0b"', b'lr: "\\x1b[31m"',
    b"lr: " + b"a" * 100_000,
]  # fmt: skip


def refuse(capsys, *arguments):
    """Run the command in-process; its one line."""
    status = cli.main(arguments)
    captured = capsys.readouterr()
    assert status == 2, (arguments, captured)
    lines = captured.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert captured.out == ""
    assert lines[0].isprintable()
    assert len(lines[0]) < 5000
    return lines[0]


def with_file(tmp_path, capsys, mode, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    line = refuse(capsys, mode, "--config", str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"]
    return line, str(path)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


many = settings(max_examples=170, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(case=misspelt(), mode=st.sampled_from(sorted(STAGES)))
def test_a_misspelt_key(case, mode, tmp_path, capsys):
    content, key = case
    line, path = with_file(tmp_path, capsys, mode, content)
    assert line.startswith(f"error: {path}: {key}: unknown key")


def modes_with(key):
    return [mode for mode, stage in STAGES.items() if key in stage.model.owners()]


@many
@given(case=mistyped() | out_of_range(), data=st.data())
def test_a_mistyped_or_impossible_value(case, data, tmp_path, capsys):
    content, key = case
    mode = data.draw(st.sampled_from(modes_with(key) or TRAINING))
    line, path = with_file(tmp_path, capsys, mode, content)
    assert line.startswith(f"error: {path}: {key} = ")


@pytest.mark.slow
@many
@given(garbage=st.binary(min_size=1, max_size=40) | st.text(min_size=1, max_size=40).map(str.encode))
def test_noise_in_a_file(garbage, tmp_path, capsys):
    """It may happen to be an empty document; then the missing expert is what is wrong."""
    line, path = with_file(tmp_path, capsys, "offline", garbage)
    assert path in line or "ppo_checkpoint_path = null" in line


@pytest.mark.parametrize(("mode", "content", "key"), CONTRADICTIONS)
def test_a_contradiction(mode, content, key, tmp_path, capsys):
    line, path = with_file(tmp_path, capsys, mode, content)
    assert line.startswith(f"error: {path}: {key} = ")


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: repr(content)[:40])
def test_a_malformed_file(content, tmp_path, capsys):
    line, path = with_file(tmp_path, capsys, "offline", content)
    assert path in line


def test_a_preset_that_is_no_file_is_not_read(capsys):
    Path("mine.yaml").symlink_to("/dev/zero")
    assert "mine.yaml: no such file" in refuse(capsys, "offline", "--config", "mine.yaml")
    with pytest.raises(ConfigError, match=r"mine\.yaml: is no regular file"):
        read_mapping(Path("mine.yaml"))


NUMBERS_GIVEN = [
    ("seed", "1e30"), ("seed", "4294967296"), ("seed", "-1"), ("seed", "9" * 5000), ("seed", "1e400"),
    ("num_envs", "1e19"), ("lr", "[" * 50_000), ("lr", "[" * 300 + "]" * 300),
    ("lr", "!!int x"), ("lr", "&a [*a]"), ("lr", "2024-01-01"), ("lr", "\x1b[31m"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "text"), NUMBERS_GIVEN, ids=lambda text: text[:12])
def test_a_flag_that_is_no_such_number(key, text, capsys):
    assert refuse(capsys, "offline", f"--{key}", text).startswith(f"error: command line: {key} = ")


def test_the_largest_seed_is_taken():
    layers = [*base_layers(None), Layer("test", {"seed": 2**32 - 1})]
    assert build(PPOConfig, layers).seed == 2**32 - 1


@pytest.mark.parametrize("key", KEYS)
def test_a_dropped_default(key, tmp_path, capsys, monkeypatch):
    """Every default is needed somewhere, and its absence is named."""
    (tmp_path / "defaults.yaml").write_text(yaml.safe_dump({k: v for k, v in DEFAULTS.items() if k != key}))
    monkeypatch.setattr("remdm.config.layers.configs_folder", lambda: tmp_path)
    models = [model for stage in STAGES.values() for model in (stage.model, stage.runtime)]
    model = next(model for model in models if key in model.owners())
    with pytest.raises(ConfigError, match=f"{key}: has no value; it belongs in configs/defaults.yaml"):
        build(model, base_layers(None))


REAL = [
    (["offline", "--config", "mine.yaml"], b"lrr: 1", "mine.yaml: lrr: unknown key (did you mean lr"),
    (["offline", "--config", "mine.yaml"], b"lr: fast", "mine.yaml: lr = 'fast'"),
    (["online", "--config", "mine.yaml"], b"dagger_buffer_max: 5", "mine.yaml: dagger_buffer_max = 5"),
    (["ppo", "--config", "mine.yaml"], b"\xff\xfe", "mine.yaml: not UTF-8"),
    (["collect", "--config", "mine.yaml"], b"- a", "mine.yaml: contains a list"),
    (["inference", "--config", "mine.yaml"], b"a: [", "mine.yaml, line 1: not valid YAML"),
    (["smoke", "--config", "mine.yaml"], b"num_repeats: 0", "mine.yaml: num_repeats = 0"),
    (["offline", "--config", "mine.yaml"], b"", "ppo_checkpoint_path = null"),
    (["offline", "--config", "final_clasic_ucl"], b"", "did you mean final_classic_ucl"),
    (["ppo", "--jit", "perhaps"], b"", "command line: jit = 'perhaps'"),
    (["ablations"], b"", "checkpoint_path = null: name the folder of a checkpoint"),
    (["show", "nowhere"], b"", "checkpoint nowhere: no such folder"),
]


@pytest.mark.parametrize(("arguments", "content", "message"), REAL, ids=lambda value: str(value)[:40])
def test_the_real_command(arguments, content, message, tmp_path):
    Path("mine.yaml").write_bytes(content)
    command = [sys.executable, "-m", "remdm.cli", *arguments]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"]
