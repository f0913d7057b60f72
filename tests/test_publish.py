"""Publishing trained policies: what leaves this machine, and what does not."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

import remdm
from remdm import cli
from remdm.analysis.results import read_json
from remdm.base.files import write_json
from remdm.base.scrub import HIDDEN, scrubbed
from remdm.training import checkpoint
from tests.conftest import REPOSITORY
from tests.hub import TOKEN, content, served
from tests.test_library import GAME

PRETRAINED = REPOSITORY / "pretrained" / "offline-demo"
SECRETS = {
    "path": "/home/alice/results/checkpoint", "host": "node12.cluster.example", "mail": "alice@example.org",
    "wandb": "0123456789abcdef" * 2 + "01234567", "hub": TOKEN, "up": "../../alice/checkpoint",
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with served(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The results of a training and of its evaluation, whose records hold what should not be published."""
    folder = tmp_path_factory.mktemp("publish") / "results" / GAME / "offline" / "demo" / "s1"
    shutil.copytree(PRETRAINED, folder / "checkpoint")
    shutil.copytree(PRETRAINED, folder / "checkpoint_best")
    evaluations = folder.parents[2] / "inference"
    shutil.move(folder / "checkpoint" / "evaluations", evaluations)
    shutil.copytree(evaluations / "offline-demo", evaluations / "of_another")
    other = evaluations / "of_another" / "s1" / "run.json"
    record = read_json(other)
    write_json(other, record | {"origin": record["origin"] | {"inputs": {"checkpoint_path": "0" * 16}}})
    record = read_json(folder / "checkpoint" / "run.json")
    planted = {"ppo_checkpoint_path": SECRETS["path"], "resume_checkpoint_path": "/home/alice b/c"}
    flags = " ".join(f"--x={secret}" for secret in SECRETS.values())
    record |= {"config": record["config"] | planted, "xla_flags": flags, "wandb_run_id": "rabc123"}
    write_json(folder / "run.json", record)
    metadata = read_json(folder / "checkpoint" / "metadata.json")
    for name in ("checkpoint", "checkpoint_best"):
        params = checkpoint.restore(folder / name, "params", checkpoint.array_shapes(folder / name, "params"))
        items = {"params": params, "training": {"step": np.ones(1)}}
        checkpoint.save(folder / name, items, metadata | {"wandb_run_id": "rabc123"})
    (folder / "curves.png").write_bytes(b"curves")
    return folder


@pytest.fixture
def result(original, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(original.parents[3], tmp_path / "results")
    return tmp_path / original.relative_to(original.parents[4])


def staged(result, tmp_path, *flags):
    assert cli.main(["publish", str(result), "--output", str(tmp_path / "published"), *flags]) == 0
    return tmp_path / "published" / "offline-demo"


def test_nothing_private_is_published(result, tmp_path):
    files = content(staged(result, tmp_path))
    for name, data in files.items():
        for secret in (*SECRETS.values(), "alice", "rabc123", str(tmp_path), os.path.expanduser("~") + "/"):
            assert secret.encode() not in data, name
    assert not [name for name in files if "training" in name or name.endswith("commit_success.txt")]
    assert b"Commit" not in files["params/_METADATA"]


def test_a_published_checkpoint_is_whole_and_the_same(result, tmp_path):
    folder = staged(result, tmp_path)
    for path in (folder, folder / "checkpoint_best"):
        checkpoint.verify(path, needed=True)
        shapes = checkpoint.array_shapes(path, "params")
        arrays = checkpoint.restore(path, "params", shapes)
        original = checkpoint.restore(result / "checkpoint", "params", shapes)
        assert all((arrays[name] == original[name]).all() for name in shapes)
    assert read_json(folder / "run.json")["git_commit"] == read_json(result / "run.json")["git_commit"]


def test_the_card_says_how_it_was_trained_and_how_it_plays(result, tmp_path):
    folder = staged(result, tmp_path)
    card = (folder / "README.md").read_text()
    summary = read_json(PRETRAINED / "evaluations" / "offline-demo" / "s1" / "summary.json")
    mean, low, high = (f"{summary['return'][part]:.2f}" for part in ("mean", "low", "high"))
    assert f"| offline-demo | {mean} [{low}, {high}] |" in card
    assert "all episodes that 64 environments completed in 1,000 steps each" in card
    assert "999,424 frames, seed 1" in card
    assert "license: mit" in card
    assert "![How it plays or learned](curves.png)" in card
    assert "of_another" not in card
    assert not (folder / "evaluations" / "of_another").exists()
    citation = (REPOSITORY / "README.md").read_text()
    assert re.search(r"@software\{.*?\n    \}", card, re.S)[0] in citation


def test_the_cards_lines_load_and_play_it(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = staged(result, Path("."))
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    load = next(line for line in code.splitlines() if "load_planner(" in line)
    assert len(code.splitlines()) == 3
    scope = {"load_planner": remdm.load_planner}
    exec(load, scope)
    played = read_json(folder / "evaluations" / "offline-demo" / "s1" / "run.json")["config"]
    sampler = scope["planner"].planner.sampler
    assert (sampler.temperature, sampler.steps) == (played["temperature"], played["diffusion_steps_eval"])


def test_a_film_of_it_is_the_picture(result, tmp_path):
    film = result.parents[2] / "film" / "offline-demo" / "s0"
    film.mkdir(parents=True)
    (film / "episode.gif").write_bytes(b"film")
    evaluation = result.parents[2] / "inference" / "offline-demo" / "s1" / "run.json"
    shutil.copy(evaluation, film)
    folder = staged(result, tmp_path)
    assert (folder / "episode.gif").read_bytes() == b"film"
    assert not (folder / "curves.png").exists()
    minimal = content(staged(result, tmp_path, "--minimal"))
    assert not [name for name in minimal if "best" in name or name.endswith((".gif", ".png"))]


def test_a_dry_run_shows_files_and_card_and_writes_nothing(result, tmp_path, monkeypatch, capsys, hub):
    before = content(tmp_path)
    assert cli.main(["publish", str(result), "--repo", "me/fresh", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "  params/_METADATA\n" in out
    assert 'load_planner("hf:me/fresh", ' in out
    assert content(tmp_path) == before
    assert hub.requests == []


def test_it_is_published_and_published_again(result, tmp_path, monkeypatch, capsys, hub):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish = ["publish", str(result), "--repo", "me/fresh"]
    assert cli.main(publish) == 0
    assert capsys.readouterr().out == f"{hub.url}/me/fresh\n"
    first = dict(hub.files("me/fresh"))
    card = first.pop("README.md")
    folder = content(staged(result, tmp_path))
    del folder["README.md"]
    assert first == folder
    assert b'load_planner("hf:me/fresh", ' in card
    hub.commit("me/fresh", {**hub.files("me/fresh"), "params/d/stale": b"x", "LICENSE": b"theirs"})
    assert cli.main([*publish, "--minimal"]) == 0
    again = hub.files("me/fresh")
    assert "LICENSE" in again
    assert not [name for name in again if "stale" in name or "best" in name or name.endswith(".png")]
    assert remdm.load_planner("hf:me/fresh").env_name == GAME


def test_large_files_are_published_by_lfs(result, tmp_path, monkeypatch, hub):
    """As of a client without its own protocol for large files, which no small server speaks."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.large = 10_000
    assert cli.main(["publish", str(result), "--repo", "me/fresh", "--minimal"]) == 0
    assert len(hub.stored) > 2
    hub.commit("me/fresh", hub.files("me/fresh"))
    assert remdm.load_planner("hf:me/fresh").env_name == GAME


def test_a_folder_outside_of_the_layout_does_not_name_it(result, tmp_path, capsys):
    moved = result.rename(tmp_path / "mine")
    assert cli.main(["publish", str(moved), "--output", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"offline"}
    card = (tmp_path / "out" / "offline" / "README.md").read_text()
    assert "# offline\n" in card
    assert "No evaluation is published with it." in card


@pytest.mark.slow
def test_what_the_pipeline_made_is_published_with_its_evaluations(pipeline, tmp_path):
    made = {"ppo_rnn": "ppo/ppo_rnn", "online-demo": "online/demo", "ablations-lora": "ablations/lora"}
    results = [str(pipeline / "results" / GAME / path / "s0") for path in made.values()]
    assert cli.main(["publish", *results, "--output", str(tmp_path)]) == 0
    for name in made:
        checkpoint.verify(tmp_path / name, needed=True)
        evaluated = {path.name for path in tmp_path.glob(f"{name}/evaluations/*")}
        assert evaluated == ({name} - {"ablations-lora"})
        assert str(pipeline).encode() not in b"".join(content(tmp_path / name).values())
    for name in ("ppo_rnn", "online-demo"):
        assert (tmp_path / name / "episode.gif").exists()
        assert re.search(rf"\| {name} \| [\d.]+ \[", (tmp_path / name / "README.md").read_text())
    assert (tmp_path / "ablations-lora" / "curves.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --repo OWNER/NAME or --output DIR"),
        (["--repo", "me/x", "--output", "y"], "give either --repo OWNER/NAME or --output DIR"),
        (["--repo", "fresh"], "--repo fresh: not of the form OWNER/NAME"),
        (["--repo", "me/fresh@v1"], "--repo me/fresh@v1: not of the form OWNER/NAME"),
        (["--repo", "me/fresh"], "no token for the Hugging Face Hub; `hf auth login`"),
    ],
)
def test_a_call_that_cannot_publish_is_refused_first(result, hub, capsys, arguments, message):
    assert cli.main(["publish", str(result), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert hub.requests == []


def test_without_its_client_the_message_names_the_extra(result, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    publish = ["publish", str(result), "--repo", "me/fresh"]
    assert cli.main(publish) == 2
    assert "huggingface_hub is not installed; `uv sync --extra hub`" in capsys.readouterr().err
    assert cli.main([*publish, "--dry-run"]) == 0  # it is not needed to look


def test_what_is_no_training_is_not_published(result, tmp_path, capsys):
    evaluation = result.parents[2] / "inference" / "offline-demo" / "s1"
    for folder, message in (
        (evaluation, "is a result of inference, which leaves no checkpoint"),
        (tmp_path, "contains no run.json of a finished training"),
    ):
        assert cli.main(["publish", str(folder), "--output", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    (result / "checkpoint" / "checksums.json").unlink()
    assert cli.main(["publish", str(result), "--output", str(tmp_path / "out")]) == 2
    assert "checksums.json cannot be read" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_token_publishes_nothing(result, monkeypatch, hub, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    assert cli.main(["publish", str(result), "--repo", "me/fresh"]) == 2
    error = capsys.readouterr().err
    assert "me/fresh: cannot be published: the token is refused (401)" in error
    assert "hf_wrong" not in error
    assert "me/fresh" not in hub.repos


def test_something_else_is_not_replaced(result, tmp_path, capsys):
    kept = tmp_path / "published" / "offline-demo" / "notes"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert cli.main(["publish", str(result), "--output", str(tmp_path / "published")]) == 2
    assert "exists already, and contains no metadata.json" in capsys.readouterr().err
    assert kept.exists()


def test_scrubbing_leaves_what_a_run_is():
    record = read_json(PRETRAINED / "run.json")
    assert scrubbed(record) == record
    assert scrubbed({"a_path": "/x y/z", "text": ["2/3 of a/b at 1.2.3", "in /x/y"]}) == {
        "a_path": HIDDEN, "text": ["2/3 of a/b at 1.2.3", f"in {HIDDEN}"],
    }  # fmt: skip
