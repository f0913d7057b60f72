"""Training from Python: what the command does, with a result in hand, in scripts and in notebooks."""

import json
import os
import re
import signal
import time

import jax
import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

import remdm
from remdm.base.errors import Interrupted, UserError
from remdm.config.layers import base_layers, build
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.config.stages import STAGES
from remdm.stages.session import prepare_jax
from tests import kill
from tests.conftest import REPOSITORY
from tests.notebooks import run_example
from tests.smallest import stand_in
from tests.toy import GAME

UPDATES = 6
KEYS = {
    key: value for key, value in {**kill.KEYS, "compilation_cache_dir": REPOSITORY / ".tests-cache"}.items()
    if key not in ("checkpoint_every_minutes", "chunk_updates")
} | {"chunk_updates": 1, "online_total_timesteps": UPDATES * kill.PER_UPDATE}  # fmt: skip


@pytest.fixture
def train(tmp_path, monkeypatch):
    """`remdm.train` on the toy game, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("remdm.library.load_game", lambda name: GAME)

    def run(**keys):
        model = STAGES["online"].model.owners()
        given = {key: value for key, value in KEYS.items() if key in model or not key.startswith("ppo")}
        given = {key: value for key, value in given.items() if key != "layer_size"}
        given["ppo_checkpoint_path"] = kill.toy_expert_folder(tmp_path)
        with kill.toy_game():
            return remdm.train("online", **{**given, **keys})

    return run


@pytest.fixture(scope="module")
def commanded(tmp_path_factory):
    """The same training by the command."""
    folder = tmp_path_factory.mktemp("commanded")
    arguments = kill.command("online", "toy", folder, None, UPDATES)
    arguments = arguments[arguments.index("online") : -2]
    arguments[arguments.index("--chunk_updates") + 1] = "1"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert kill.run_toy([*arguments, "--output", "out"]) == 0
    return folder / "out"


def test_it_leaves_what_the_command_leaves(train, commanded):
    rows = []
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        trained = train(output="python", callback=rows.append)
        assert jax.config.jax_default_matmul_precision == "highest"  # as the session had it
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    kill.compare(trained.folder, commanded)
    assert trained.run["digest"] == json.loads((commanded / "run.json").read_text())["digest"]
    assert (trained.folder / "curves.png").exists()

    assert [row["update"] for row in rows] == [*range(1, UPDATES + 1)]
    losses = [row["diffusion/loss"] for row in rows]
    assert trained.metrics["diffusion/loss"].to_list() == pytest.approx(losses)
    assert (trained.seed, trained.config["lr"]) == (0, 3e-4)
    assert trained.planner.init(2).replan_every >= 1
    assert trained.best_checkpoint.is_dir()
    assert trained.repeats == [trained]
    with pytest.raises(UserError, match="its kind is planner, but expert is needed"):
        trained.expert  # noqa: B018


def test_an_interrupted_call_is_saved_and_the_same_call_resumes(train, commanded, tmp_path):
    def send(number, update):
        return lambda row: signal.raise_signal(number) if row["update"] == update else None

    with pytest.raises(Interrupted, match="SIGTERM"):
        train(output="out", callback=send(signal.SIGTERM, 1))
    with pytest.raises(KeyboardInterrupt, match="the same call with seed=0 resumes"):
        train(output="out", callback=send(signal.SIGINT, 3))
    assert not (tmp_path / "out" / "run.json").exists()
    rows = []
    resumed = train(output="out", callback=rows.append)
    assert 3 < rows[0]["update"] <= UPDATES
    kill.compare(resumed.folder, commanded)


@pytest.mark.slow
def test_repetitions_have_results_of_their_own(train):
    repeats = train(num_repeats=2, output="twice").repeats
    assert [one.folder.name for one in repeats] == ["r0", "r1"]
    assert [one.metrics.height for one in repeats] == [UPDATES, UPDATES]
    assert [one.seed for one in repeats] == [0, 0]  # as the record of both says
    assert all((one.folder / "curves.png").exists() for one in repeats)


def test_a_session_that_used_jax_before_is_told_so(monkeypatch, caplog):
    runtime = build(TrainingRuntimeConfig, base_layers(None))
    jax.devices()
    monkeypatch.setattr(jax.config, "update", _but_for_settings(jax.config.update))
    prepare_jax(runtime)
    assert caplog.text == ""  # the flags were set in time
    monkeypatch.setenv("XLA_FLAGS", "")
    prepare_jax(runtime)
    assert "JAX had started before, without --xla_backend_optimization_level=1" in caplog.text


def _but_for_settings(update):
    """The other settings are those of all tests."""
    return lambda name, value: update(name, value) if name == "jax_num_cpu_devices" else None


@pytest.mark.parametrize(
    ("mode", "keys", "message"),
    [
        ("inference", {}, "mode 'inference' does not train; ppo, offline, online, smoke, ablations do"),
        ("offline", {"lrr": 1.0}, r"train: lrr: unknown key \(did you mean lr"),
        ("offline", {"eval_steps": 1}, "train: eval_steps: has no effect here"),
        ("offline", {"lr": "fast"}, "train: lr = 'fast'"),
        ("offline", {"config": "demoo"}, "did you mean demo"),
        ("offline", {"ppo_checkpoint_path": None}, "ppo_checkpoint_path = null"),
        ("ablations", {"arm": "lor"}, r"train: arm = 'lor': no arm of that name \(did you mean lora"),
    ],
)
def test_mistakes_are_one_line_and_touch_nothing(mode, keys, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        remdm.train(mode, **keys)
    assert list(tmp_path.iterdir()) == []


# --- in notebooks, with a real kernel ---


def notebook_of(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


PROGRESS = """
from remdm.training.progress import ProgressReport
with ProgressReport("offline", 100, enabled=True) as progress:
    progress.update(40, "loss 1.5")
    progress.update(100, "loss 0.5")
"""


def test_a_notebook_shows_one_bar_that_moves(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY), prepend=os.pathsep)
    notebook = notebook_of(PROGRESS)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    [shown] = notebook.cells[0].outputs
    for kind in ("text/plain", "text/html"):
        assert "100/100 frames" in shown["data"][kind]
        assert "loss 0.5" in shown["data"][kind]


ENDLESS = """
import remdm
remdm.train("smoke", online_num_updates=1_000_000, seed=7, chunk_updates=1, val_interval=1_000_000,
            output="out")
"""


@pytest.mark.slow
def test_a_kernel_that_is_interrupted_saves(tmp_path, monkeypatch):
    for name, value in stand_in(REPOSITORY).items():
        monkeypatch.setenv(name, value)
    manager = KernelManager()
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=None)
        asked = client.execute(ENDLESS)
        while not any(re.search("[1-9][0-9,]*/", text) for text in _shown(client)):
            time.sleep(0.1)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=None)
        while reply["parent_header"].get("msg_id") != asked:
            reply = client.get_shell_msg(timeout=None)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert (reply["content"]["ename"], kill.updates_saved(tmp_path, whole=True) > 0) == (
        "KeyboardInterrupt",
        True,
    )
    assert "the same call with seed=7 resumes" in reply["content"]["evalue"]


def _shown(client):
    """What the kernel's progress bar has said since it was asked."""
    while client.iopub_channel.msg_ready():
        content = client.get_iopub_msg()["content"]
        assert "ename" not in content, content
        yield content.get("data", {}).get("text/plain", "")


@pytest.mark.slow
def test_the_training_notebook_runs(tmp_path, monkeypatch):
    for name, value in stand_in(REPOSITORY).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REMDM_FRAMES", "8192")
    shown = run_example("train.ipynb", tmp_path)
    assert any("image/gif" in data for data in shown)
    assert sum("image/png" in data for data in shown) >= 1
    assert (
        len(list(tmp_path.glob("runs/*/*/demo/s*/run.json")))
        + len(list(tmp_path.glob("runs/*/ppo/*/s*/run.json")))
        == 2
    )
