"""Trajectories on disk: what is stored chunk by chunk is what the file holds; its reader accepts no other."""

import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import remdm
from remdm.base.errors import UserError
from remdm.base.program import one_behind
from remdm.base.trajectory_file import AFTER_ACTION, DTYPES, TrajectoryMetadata
from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.envs.batch import Step
from remdm.envs.packing import pack
from remdm.experts.network import ActorCriticRNN, init_params
from remdm.loading.checkpoint import describe
from remdm.play.rollout import Transition
from remdm.stages import trajectories
from remdm.stages.collect import run_collect
from remdm.stages.trajectories import Trajectories
from remdm.training import checkpoint
from remdm.training.lock import locked_file
from remdm.training.run import Run
from tests.conftest import REPOSITORY
from tests.toy import GAME, LONGEST

NUM_ENVS, NUM_STEPS, CHUNK = 3, 10, 4
# Of 13 features, 11 bits: neither is a multiple of a byte, and floats follow.
SMALL = replace(GAME, obs_dim=13, num_binary=11)
SAID = TrajectoryMetadata(AFTER_ACTION, "toy", NUM_ENVS, NUM_STEPS, 7, "0123456789abcdef", "0.1.0")
CLASSIC = "Craftax-Classic-Symbolic-v1"


def played(num_steps, seed=0):
    """Random transitions [T, E, ...], observations whole."""
    rng = np.random.default_rng(seed)
    shape = num_steps, NUM_ENVS
    bits = rng.integers(0, 2, (*shape, SMALL.num_binary)).astype(np.float32)
    rest = rng.normal(size=(*shape, 2)).astype(np.float32)
    step = Step(
        reward=rng.normal(size=shape).astype(np.float32),
        done=rng.random(shape) < 0.3,
        episode_return=np.zeros(shape),
        episode_length=np.zeros(shape),
        achievements=np.zeros((*shape, 1)),
    )
    return Transition(np.concatenate([bits, rest], -1), rng.integers(0, 4, shape), step)


@pytest.mark.parametrize("rows", [4, 6, 15, 4096])  # at once: with and without a rest, and all
def test_chunks_come_back_bit_for_bit(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(trajectories, "ROWS", rows)
    whole = played(NUM_STEPS)
    kept = Trajectories(tmp_path / "arrays", tmp_path / "trajectories.npz", SMALL, NUM_ENVS, NUM_STEPS)
    for first in range(0, NUM_STEPS, CHUNK):
        chunk = jax.tree.map(lambda x, first=first: x[first : first + CHUNK], whole)
        kept.store(replace(chunk, obs=jax.device_get(pack(chunk.obs, SMALL))), first)
    kept.write(SAID)
    with np.load(tmp_path / "trajectories.npz", allow_pickle=False) as file:
        wanted = {
            "obs": whole.obs, "actions": whole.action, "rewards": whole.step.reward, "dones": whole.step.done
        }  # fmt: skip
        assert set(file) == {*wanted, "metadata"}
        assert json.loads(file["metadata"].item()) == SAID._asdict()
        for name, values in wanted.items():
            np.testing.assert_array_equal(file[name], np.swapaxes(values, 0, 1), name)
        assert {name: file[name].dtype for name in wanted} == DTYPES
    read = remdm.load_trajectories(tmp_path / "trajectories.npz")
    assert read.metadata == SAID
    for name, values in wanted.items():
        np.testing.assert_array_equal(getattr(read, name), np.swapaxes(values, 0, 1), name)


def test_a_disk_that_is_too_small_is_said_before_anything_is_played(tmp_path, monkeypatch):
    """19 bytes a frame, twice where arrays and file lie on one disk."""
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    path = tmp_path / "trajectories.npz"
    Trajectories(tmp_path / "fits", path, SMALL, 70, 1000)
    with pytest.raises(UserError, match=r"collect_num_steps = 100000: 0\.0 GB are needed"):
        Trajectories(tmp_path / "arrays", path, SMALL, 100, 1000)
    elsewhere = Path("/dev/shm") / "trajectories.npz"
    if elsewhere.parent.stat().st_dev != tmp_path.stat().st_dev:
        Trajectories(tmp_path / "arrays", elsewhere, SMALL, 100, 1000)


def test_a_full_disk_while_trajectories_are_written_leaves_no_part_of_them(tmp_path):
    """No file may grow beyond 1000 bytes."""
    path = tmp_path / "data" / "mine.npz"
    path.parent.mkdir()
    path.write_text("of an earlier run")
    kept = Trajectories(tmp_path / "arrays", path, SMALL, NUM_ENVS, NUM_STEPS)
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError, match="File too large") as failed:
            kept.write(SAID)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert failed.value.filename == str(path)
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [
        ("mine.npz", "of an earlier run")
    ]


# --- what `collect` leaves, and its reader ---


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """The file of a run of `collect` by an untrained expert in the toy game, 8 environments of 80 steps."""
    from tests.test_keys import config_of

    folder = tmp_path_factory.mktemp("collected")
    network = config_of("ppo").network
    params = init_params(
        ActorCriticRNN(GAME.num_actions, network.layer_size), jax.random.PRNGKey(7), GAME.obs_dim
    )
    checkpoint.save(folder / "expert", {"params": params}, describe("expert", CLASSIC, network, 1, 1))
    collect(folder, "run")
    return folder / "run" / "trajectories.npz"


def collect(folder, name, **keys):
    """Run the stage with the expert in `folder`, where a folder of that name gets the results."""
    from tests.test_keys import config_of

    config = config_of("collect", ppo_checkpoint_path=str(folder / "expert"), seed=3, **keys)
    runtime = build(
        RuntimeConfig, [*base_layers(None), Layer("test", {"progress": False, "use_wandb": False})]
    )
    origin = {"inputs": {"ppo_checkpoint_path": "digest of the expert"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("remdm.envs.batch.load_game", {CLASSIC: GAME}.__getitem__)
        with Run("collect", folder / name, folder / f"{name}-state", "digest", runtime, origin) as run:
            run_collect(config, run)


def test_two_processes_do_not_write_one_file(collected, tmp_path):
    path = tmp_path / "mine.npz"
    with (
        locked_file(path),
        pytest.raises(UserError, match=f"{path}: in use by process {os.getpid()} on"),
    ):
        collect(collected.parents[1], "second", offline_data_path=str(path))
    assert list(tmp_path.iterdir()) == []


def test_a_collected_file_says_what_it_is(collected):
    read = remdm.load_trajectories(str(collected))
    assert read.metadata._replace(remdm_version="") == TrajectoryMetadata(
        dones="after_action", env_name=CLASSIC, num_envs=8, num_steps=80, seed=3,
        expert_digest="digest of the expert", remdm_version="",
    )  # fmt: skip
    record = json.loads((collected.parent / "run.json").read_text())
    assert read.metadata.remdm_version == record["packages"]["remdm"]
    assert read.obs.shape == (8, 80, GAME.obs_dim)
    assert read.actions.shape == read.rewards.shape == read.dones.shape == (8, 80)
    # Hitting the target, which the observation shows, earns 1.
    np.testing.assert_array_equal(read.rewards, read.obs[..., :-1].argmax(-1) == read.actions)


def test_the_documented_conversion_gives_the_other_convention(collected):
    """Before the step, `done` says that an observation begins an episode: its time left is not one less."""
    page = (REPOSITORY / "docs" / "method.md").read_text()
    there, back = (code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "dones" in code)
    obs, dones = (getattr(remdm.load_trajectories(collected), name) for name in ("obs", "dones"))
    names = {"np": np, "dones": dones}
    exec(there, names)
    left = np.rint(LONGEST * obs[..., -1])
    np.testing.assert_array_equal(names["dones_before"][:, 1:], left[:, 1:] != left[:, :-1] - 1)
    assert names["dones_before"][:, 0].all()
    assert 0.05 < dones.mean() < 0.3
    exec(back, names)
    np.testing.assert_array_equal(names["dones"][:, :-1], dones[:, :-1])
    assert not names["dones"][:, -1].any()


def test_reading_needs_no_jax(collected):
    code = "import sys, remdm; remdm.load_trajectories(sys.argv[1]); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, collected], check=True, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def contents(collected):
    with np.load(collected, allow_pickle=False) as file:
        return {name: file[name] for name in file}


def test_a_damaged_file_is_refused_in_one_line_or_reads_the_same(collected, contents, tmp_path):
    """Cut anywhere, or with one byte changed: zip has bytes of no account, such as the time of day."""
    whole = collected.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.npz"
    refused = []
    for place in rng.integers(0, len(whole), 150).tolist():
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            try:
                read = remdm.load_trajectories(path)
            except UserError as error:
                refused.append(str(error))
            else:
                assert len(damaged) == len(whole)
                assert all(np.array_equal(getattr(read, name), contents[name]) for name in DTYPES)
    assert len(refused) > 250
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in refused)


def said(**other):
    """Another file's metadata."""
    return np.array(json.dumps({**SAID._asdict(), "num_envs": 8, "num_steps": 80, **other}))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"metadata": None}, "has no metadata: older code or another program wrote it; run remdm collect"),
        ({"metadata": said(dones="before_action")}, "dones = 'before_action': must be 'after_action'"),
        ({"metadata": said(num_steps="80")}, "metadata: num_steps = '80': should be int"),
        ({"metadata": np.array("{}")}, "metadata should be a JSON object with dones, env_name, num_envs"),
        ({"metadata": np.array("[]")}, "metadata should be a JSON object"),
        ({"metadata": np.array("no JSON")}, "metadata should be a JSON object"),
        ({"metadata": np.array({}, object)}, "metadata cannot be read"),
        ({"metadata": said(num_steps=81)}, r"obs is float32\[8, 80, 5\], but float32\[8, 81, D\] is needed"),
        ({"actions": np.zeros((8, 80))}, r"actions is float64\[8, 80\], but int32\[8, 80\] is needed"),
        ({"dones": np.zeros((8, 80, 1), bool)}, r"dones is bool\[8, 80, 1\], but bool\[8, 80\] is needed"),
        ({"rewards": None}, "rewards cannot be read"),
    ],
)
def test_what_does_not_fit_is_named(contents, tmp_path, other, message):
    path = tmp_path / "other.npz"
    arrays = {**contents, "metadata": said(), **other}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=f"^{path}: .*{message}"):
        remdm.load_trajectories(path)


def test_what_is_no_npz_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        remdm.load_trajectories(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot be read"):
        remdm.load_trajectories(tmp_path)
    for name, content in (("text", b"obs"), ("pickle", pickle.dumps({})), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: is no .npz file"):
            remdm.load_trajectories(tmp_path / name)


def test_an_item_is_handed_on_once_the_next_one_is_there():
    made = []
    items = (made.append(k) or k for k in range(3))
    assert [(item, made[-1]) for item in one_behind(items)] == [(0, 1), (1, 2), (2, 2)]
    assert list(one_behind([])) == []
