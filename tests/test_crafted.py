"""Checkpoints that somebody made to do harm: one line, exit status 2, no memory for what they claim."""

import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorstore as ts

from remdm import cli
from remdm.base.checkpoint_folder import open_checkpoint
from remdm.base.errors import UserError
from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.experts.baselines import Baseline
from remdm.loading.checkpoint import describe, rebuild
from remdm.loading.public import read_public, summary
from remdm.planners.public import PublicPlanner
from remdm.stages.training import resumed
from remdm.training import checkpoint
from remdm.training.state import from_items
from remdm.workflow.digest import content_digest
from tests.devices import algorithm_of

GAME = "Craftax-Classic-Symbolic-v1"
NETWORK = ExpertConfig(ppo_model_type="ppo", layer_size=8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An expert's checkpoint."""
    path = tmp_path_factory.mktemp("whole") / "expert"
    shapes = Baseline(NETWORK, obs_dim=6, num_actions=5).shapes()
    params = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
    checkpoint.save(path, {"params": params}, describe("expert", GAME, NETWORK, 3, 10))
    return path


@pytest.fixture
def crafted(whole, tmp_path, monkeypatch):
    """A copy of it in the working folder, without the checksums that who crafts it would write anew."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, "crafted")
    Path("crafted/checksums.json").unlink()
    return Path("crafted")


def refusal(capsys, path="crafted"):
    """The one line of the command."""
    assert cli.main(["show", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    return line


def edit(path, **entries):
    record = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").write_text(json.dumps(record | entries))


@pytest.mark.parametrize("name", ["metadata.json", "checksums.json", "params/_METADATA", "params/d/more"])
@pytest.mark.parametrize("what", ["device", "pipe"])
def test_a_file_that_is_none_is_not_read(name, what, crafted, capsys):
    (crafted / name).unlink(missing_ok=True)
    if what == "device":
        (crafted / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(crafted / name)
    assert Path(name).name in refusal(capsys)


BAD_JSON = {
    "deep list": "[" * 100_000, "deep object": '{"a":' * 100_000, "large": " " * 5 * 2**20 + "{}",
    "long number": "9" * 5000, "latin-1": "\xff",
}  # fmt: skip


@pytest.mark.parametrize("name", ["metadata.json", "checksums.json", "params/_METADATA"])
@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_cannot_be_read_is_named(name, content, crafted, capsys):
    (crafted / name).write_text(content, encoding="latin-1")
    assert Path(name).name in refusal(capsys)


WRONG = [
    ("kind", ["expert"]), ("env_name", 3), ("network", [1]), ("network", None), ("update_step", -5),
    ("update_step", 2.5), ("update_step", True), ("frames", "many"), ("devices", "two"), ("devices", 0),
    ("devices", None), ("devices", 10**9), ("wandb_run_id", "\ud800"), ("wandb_run_id", "../x"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=str)
def test_an_entry_of_the_metadata_that_is_impossible_is_named(key, value, crafted, capsys):
    edit(crafted, **{key: value})
    assert f"checkpoint crafted: {key} = " in refusal(capsys)
    config = build(PPOConfig, base_layers(None)).updated(resume_checkpoint_path="crafted")
    with pytest.raises(UserError, match=f"resume_checkpoint_path: checkpoint crafted: {key} = "):
        resumed(config, config.resume)
    with pytest.raises(UserError, match=f"checkpoint_path: checkpoint crafted: {key} = "):
        open_checkpoint("checkpoint_path", "crafted", "expert", GAME)


def test_devices_that_cannot_have_shared_the_environments_are_named(crafted):
    edit(crafted, devices=3)
    with pytest.raises(UserError, match="devices = 3: cannot have shared this run's environments"):
        from_items(algorithm_of("offline"), jax.random.PRNGKey(0), crafted)


@pytest.mark.parametrize(
    "key", ["n_layers", "obs_encoder_layers", "d_ff", "obs_encoder_width", "plan_horizon"]
)
def test_a_network_of_any_size_is_not_built(key, crafted):
    network = build(DenoiserConfig, base_layers(None)).model_dump()
    metadata = {"network": network | {key: 10**7}}
    with pytest.raises(UserError, match=rf"its network is not one of ours \(.*{key}"):
        rebuild(DenoiserConfig, crafted, metadata)


def test_a_checkpoint_without_checksums_is_not_called_right(whole, crafted):
    assert summary(whole)["size"].endswith("checksums right")
    assert summary(crafted)["size"].endswith("no checksums")


def test_what_a_checkpoint_says_reaches_no_terminal_as_codes(crafted, capsys):
    codes = "\x1b]0;title\x07\x1b[2J\r\n\u202e\ud800"
    edit(crafted, kind=codes, network={codes: codes})
    assert cli.main(["show", "crafted"]) == 0
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert r"\x1b]0;title\x07\x1b[2J\r\n\u202e\ud800" in shown
    with pytest.raises(UserError) as refused:
        open_checkpoint("checkpoint_path", "crafted", "expert", GAME)
    assert str(refused.value).isprintable()


BASELINE = Baseline(NETWORK, obs_dim=6, num_actions=5)


def public(path, model=BASELINE, **arrays):
    """A public checkpoint whose arrays say of themselves what is given, and hold zeros of any shape."""
    folder = path / "default"
    folder.mkdir(parents=True)
    tree = {}
    for ours, leaf in checkpoint.named(model.shapes()).items():
        name = model.public_name(ours)
        keys = [{"key": key, "key_type": 2} for key in name.split("/")]
        tree[name] = {"key_metadata": keys, "value_metadata": {"value_type": "", "skip_deserialize": False}}
        said = {"shape": leaf.shape, "chunks": leaf.shape, "compressor": {"id": "zstd"}} | arrays.get(
            name, {}
        )
        held = np.zeros(said.pop("held", leaf.shape), np.float32)
        store = {"driver": "file", "path": f"{folder.absolute()}/{name.replace('/', '.')}/"}
        own = said | {"dtype": "<f4", "fill_value": None, "shape": held.shape, "chunks": held.shape}
        array = ts.open({"driver": "zarr", "kvstore": store, "metadata": own}, create=True).result()
        array.write(held).result()
        record = Path(store["path"]) / ".zarray"
        record.write_text(json.dumps(json.loads(record.read_text()) | said))
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": tree}))


LARGER, CHUNKS = "its arrays take", "its chunks .* exceed its shape"
BOMBS = {
    "4 TB": ({"shape": (10**6, 10**6), "chunks": (10**6, 10**6)}, LARGER),
    "more than 64 bits": ({"shape": (2**31, 2**31), "chunks": (1, 1)}, LARGER),
    "zeros, as many as it says": ({"shape": (300, 300), "chunks": (300, 300), "held": (300, 300)}, LARGER),
    "no rows": ({"shape": (0, 10**15), "chunks": (1, 1)}, "is no ppo, ppo_rnn or ppo_rnd"),
    "wide": ({"shape": (1, 70_000), "chunks": (1, 70_000)}, "is no ppo, ppo_rnn or ppo_rnd"),
    "chunks beyond the shape": ({"chunks": (10**5, 10**5)}, CHUNKS),
    "chunks that hold more than they say": ({"held": (100, 100)}, "End of data expected"),
    "the same in blosc": ({"held": (100, 100), "compressor": {"id": "blosc"}}, "is packed with blosc"),
}


@pytest.mark.parametrize(("said", "reason"), BOMBS.values(), ids=BOMBS)
def test_arrays_that_take_more_memory_than_they_may_are_refused(said, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "UNPACKED_BYTES", 300_000)
    monkeypatch.setattr(checkpoint, "UNPACKED_RATIO", 10)
    monkeypatch.chdir(tmp_path)
    public(Path("plain"))
    read_public(Path("plain"))
    public(Path("1000"), **{"params/Dense_0/kernel": said})
    assert re.search(reason, refusal(capsys, "1000"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"shape": (10**6, 10**6), "chunks": (10**6, 10**6)}, LARGER),
        ({"shape": (0, 10**15), "chunks": (1, 1)}, "is no planner of the public implementation"),
        ({"shape": (1, 70_000), "chunks": (1, 70_000)}, "is no planner of the public implementation"),
        ({"chunks": (10**5, 10**5)}, CHUNKS),
    ],
)
def test_those_of_a_planner_are_bounded_too(said, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "UNPACKED_BYTES", 300_000)
    monkeypatch.setattr(checkpoint, "UNPACKED_RATIO", 10)
    monkeypatch.chdir(tmp_path)
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8, "obs_encoder_width": 8, "time_scale": 1.0}
    network = build(DenoiserConfig, [*base_layers(None), Layer("test", small)])
    record = {"PLAN_HORIZON": 32, "DIFFUSION_SCHEDULE": "cosine", "DROPOUT_RATE": 0.1}
    Path("resume_metadata.json").write_text(json.dumps({"config_snapshot": record}))
    model = PublicPlanner(network, obs_dim=6, num_actions=5, sampling=Layer("test", {}))
    public(Path("plain"), model)
    read_public(Path("plain"))
    public(Path("1000"), model, **{"params/Embed_0/embedding": said})
    assert re.search(reason, refusal(capsys, "1000"))


def test_our_arrays_are_bounded_too(crafted, monkeypatch):
    """Their network is described beside them, so that it may be of any size."""
    shapes = Baseline(NETWORK, obs_dim=6, num_actions=5).shapes()
    checkpoint.restore(crafted, "params", shapes)
    monkeypatch.setattr(checkpoint, "UNPACKED_BYTES", 0)
    monkeypatch.setattr(checkpoint, "UNPACKED_RATIO", 0.01)
    with pytest.raises(UserError, match=LARGER):
        checkpoint.restore(crafted, "params", shapes)


def test_a_path_with_dots_leads_to_a_checkpoint(crafted):
    Path("folder").mkdir()
    summary(Path("folder/../crafted"))
    public(Path("public"))
    summary(Path("folder/../public"))


def test_a_path_that_is_not_utf8_is_one_line(crafted, capsys):
    name = os.fsdecode(b"\xff")
    shutil.copytree("crafted", name)
    assert "is not UTF-8" in refusal(capsys, name)
    with pytest.raises(UserError, match="its path is not UTF-8"):
        summary(Path(name))
    (crafted / name).write_text("")
    assert content_digest("checkpoint_path", "crafted") != content_digest("checkpoint_path", name)


def test_a_path_that_is_too_long_is_one_line(crafted, capsys):
    assert "File name too long" in refusal(capsys, "a" * 300)
