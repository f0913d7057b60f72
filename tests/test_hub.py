"""Fetching from the Hugging Face Hub: its real client against a small server of ours."""

import logging
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

import remdm
from remdm import cli
from remdm.base.errors import UserError
from remdm.base.reader import read_mapping
from remdm.commands.configuration import call_of, configured
from remdm.config.references import HubReference, is_reference, parse_hub_reference
from remdm.training.fetching import fetch
from remdm.training.hub import _reason
from remdm.workflow.external import find_external
from remdm.workflow.plan import Plan
from tests.conftest import REPOSITORY
from tests.hub import PRIVATE, PUBLIC, TOKEN, content, served
from tests.test_library import GAME, save_planner

WORKFLOW = REPOSITORY / "workflow_config.yaml"
FILES = {"metadata.json": b"{}", "params/a": b"0123456789" * 3, "params/b": b"other"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A server with one repository; the client's cache is in `cache`."""
    with served(monkeypatch, tmp_path) as server:
        server.commit(PUBLIC, FILES)
        yield server


def fetched(reference):
    return content(fetch(reference, Path("nowhere")))


def refused(reference):
    """Why a fetch is refused, in one line without a token."""
    with pytest.raises(UserError) as error:
        fetched(reference)
    assert "\n" not in str(error.value)
    assert "hf_" not in str(error.value)
    return str(error.value)


# Fetching


def test_a_repository_is_fetched_once(hub):
    assert fetched("hf:me/planner") == FILES
    assert hub.fetched() == sorted(FILES)
    assert fetched("hf:me/planner") == FILES
    assert hub.fetched() == sorted(FILES)


def test_only_what_is_named_is_fetched(hub):
    hub.commit(PUBLIC, {**FILES, "README.md": b"card"}, "v1")
    best = {"checkpoint_best/metadata.json": b"best"}
    harmful = {"model.pkl": b"pickle", "params/model.bin": b"pickle"}
    hub.commit(PUBLIC, {**FILES, **best, **harmful, "episode.gif": b"picture"})
    assert fetched("hf:me/planner") == FILES
    assert fetched("hf:me/planner/checkpoint_best@main") == {"metadata.json": b"best"}
    assert fetched("hf:me/planner/params") == {"a": FILES["params/a"], "b": b"other"}
    assert fetched("hf:me/planner@v1") == {**FILES, "README.md": b"card"}
    assert hub.fetched() == sorted([*FILES, *best, "README.md"])


def test_a_connection_that_breaks_off_is_resumed(hub):
    hub.cut.add("params/a")
    assert fetched("hf:me/planner") == FILES
    [asked] = [asked for _, path, asked in hub.requests if asked]
    assert asked == "bytes=8-"


def test_an_interrupted_fetch_keeps_what_arrived(hub):
    hub.failing.add("params/a")
    assert "500" in refused("hf:me/planner")
    hub.failing.clear()
    hub.requests.clear()
    assert fetched("hf:me/planner") == FILES
    assert hub.fetched() == ["params/a"]


def test_what_was_fetched_is_there_offline(hub, monkeypatch):
    fetched("hf:me/planner/params")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetched("hf:me/planner/params") == {"a": FILES["params/a"], "b": b"other"}
    assert "HF_HUB_OFFLINE is set" in refused("hf:me/planner")  # more than what is there
    assert "HF_HUB_OFFLINE is set" in refused("hf:me/other")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("hf:me/planner@v9", "no such revision"),
        ("hf:me/nothing", "no such repository, or a private one; `hf auth login`"),
        (f"hf:{PRIVATE}", "no such repository, or a private one; `hf auth login`"),
        ("hf:me/planner/nothing", "no folder nothing"),
        ("hf:me/pl--anner", "Cannot have -- or .. in repo_id"),
    ],
)
def test_what_is_not_there_is_named(hub, reference, reason):
    hub.commit(PRIVATE, FILES)
    message = refused(reference)
    assert message.startswith(f"{reference}: ")
    assert reason in message


def test_a_token_opens_a_private_repository_and_a_wrong_one_is_refused(hub, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    hub.commit(PRIVATE, FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    assert "the token is refused (401); `hf auth login`" in refused(f"hf:{PRIVATE}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetched(f"hf:{PRIVATE}") == FILES
    assert "hf_wrong" not in caplog.text
    assert TOKEN not in caplog.text


def test_a_message_of_the_client_shows_no_credentials():
    error = OSError(f"no way to https://me:word@mirror/x\nwith {TOKEN}")
    assert _reason(error) == "no way to https://***mirror/x with ***"


@pytest.mark.parametrize("path", ["../evil", "params/../../../../../evil", "/evil"])
def test_a_file_that_leaves_its_folder_is_not_fetched(hub, tmp_path, path):
    hub.commit(PUBLIC, {**FILES, path: b"x"})
    assert f"Invalid filename '{path}'" in refused("hf:me/planner")
    assert not list(tmp_path.rglob("*evil"))
    assert not Path("/evil").exists()


def test_without_an_answer_what_was_fetched_before_is_used(hub):
    assert fetched("hf:me/planner/params")
    hub.stop()
    assert fetched("hf:me/planner/params") == {"a": FILES["params/a"], "b": b"other"}
    assert "cannot be fetched" in refused("hf:me/other")


@pytest.mark.parametrize(
    "reference",
    [
        "hf:", "hf:planner", "hf:me/", "hf:/me/planner", "hf:me//planner", "hf:../planner", "hf:me/..",
        "hf:me/planner/", "hf:me/planner/../x", "hf:me/planner/*", "hf:me/planner@", "hf:me/planner@a..b",
        "hf:me/planner@v1/../..", "hf:me/planner\n", "hf:me\\planner", "hf:--help/x", "hf:me/planner:v1",
    ],
)  # fmt: skip
def test_a_malformed_reference_is_refused_before_anything_else(hub, reference):
    assert is_reference(reference)
    assert refused(reference).endswith("not of the form hf:owner/repo[/path][@revision]")
    assert hub.requests == []


def test_the_parts_of_a_reference():
    assert parse_hub_reference("hf:me/planner") == HubReference("me/planner", "", None)
    assert parse_hub_reference("hf:me/a.b-c/x/y_z@refs/pr/1") == HubReference(
        "me/a.b-c", "x/y_z", "refs/pr/1"
    )


def test_without_its_client_the_message_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert cli.main(["show", "hf:me/planner"]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "huggingface_hub is not installed; `uv sync --extra hub`" in line


# Wherever a checkpoint is named


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    """The files of a planner's checkpoint."""
    return content(save_planner(tmp_path_factory.mktemp("hub") / "planner"))


def test_the_pipeline_fetches_by_a_job(hub, tmp_path):
    scale = {**read_mapping(WORKFLOW)["scales"]["demo"], "planners": [{"checkpoint": "hf:me/planner@v1"}]}
    plan = Plan.load(WORKFLOW, {"scales": {"demo": {**scale, "ablations": []}}, "scale": "demo"})
    [(slug, found)] = plan.fetched.items()
    assert (slug, found.reference) == ("hf-me-planner-v1", "hf:me/planner@v1")
    assert found.checkpoint == "results/planners/hf-me-planner-v1/checkpoint"
    target = tmp_path / slug / "checkpoint"
    hub.commit(PUBLIC, FILES, "v1")
    job = SimpleNamespace(
        log=[str(tmp_path / "log")],
        output=SimpleNamespace(checkpoint=str(target)),
        params=SimpleNamespace(reference=found.reference),
    )
    runpy.run_path(str(REPOSITORY / "scripts" / "expert.py"), init_globals={"snakemake": job})
    assert content(tmp_path / slug) == {f"checkpoint/{path}": x for path, x in FILES.items()}
    assert not [path for path in target.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("kind", ["expert", "planner"])
def test_a_malformed_reference_is_named_before_the_first_job(kind):
    with pytest.raises(UserError, match="key = hf:planner: not of the form hf:owner/repo"):
        find_external("key", "hf:planner", kind, GAME, "results")


def test_a_fetched_planner_is_loaded(hub, planner):
    hub.commit(PUBLIC, planner)
    loaded = remdm.load_planner("hf:me/planner", temperature=0.3)
    assert loaded.env_name == GAME
    assert loaded.planner.sampler.temperature == 0.3
    with pytest.raises(UserError, match="no such revision"):
        remdm.load_planner("hf:me/planner@v9")


def test_a_command_reads_the_clients_environment(hub, planner, tmp_path):
    """In a process of its own: address, cache and token come from variables."""
    sha = hub.commit(PRIVATE, planner)
    environment = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN,
        "PYTHONPATH": str(REPOSITORY),
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "remdm.cli", "show", f"hf:{PRIVATE}"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"kind +planner", done.stdout)
    assert f"commit {sha}, in {tmp_path / 'home'}" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "%|" not in done.stderr  # no bars where nobody watches


def test_a_stage_takes_a_reference(hub, planner, monkeypatch, capsys):
    """Each key of a checkpoint goes the same way; the message shows that it was fetched."""
    hub.commit(PUBLIC, planner)
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    assert cli.main(["inference", "--checkpoint_path", "hf:me/planner"]) == 2
    error = capsys.readouterr().err
    assert "error: hf:me/planner: cannot be fetched: the token is refused (401)" in error
    assert "hf_wrong" not in error
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    parsed = cli._parser().parse_args(["inference", "--checkpoint_path", "hf:me/planner"])
    config, _, _ = configured(call_of(parsed))
    assert (config.policy, config.env.env_name) == ("planner", GAME)
    assert Path(config.checkpoint_path).is_dir()
