"""Trajectories on disk: what is stored chunk by chunk is what the `.npz` holds."""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from remdm.base.errors import UserError
from remdm.envs.batch import Step
from remdm.envs.packing import pack
from remdm.play.rollout import Transition
from remdm.stages import trajectories
from remdm.stages.trajectories import Trajectories
from tests.toy import GAME

NUM_ENVS, NUM_STEPS, CHUNK = 3, 10, 4
# Of 13 features, 11 bits: neither is a multiple of a byte, and floats follow.
SMALL = replace(GAME, obs_dim=13, num_binary=11)


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
    kept.write()
    with np.load(tmp_path / "trajectories.npz", allow_pickle=False) as file:
        wanted = {
            "obs": whole.obs, "actions": whole.action, "rewards": whole.step.reward, "dones": whole.step.done
        }  # fmt: skip
        assert set(file) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_array_equal(file[name], np.swapaxes(values, 0, 1), name)
        types = {name: file[name].dtype for name in file}
        assert types == {"obs": np.float32, "actions": np.int32, "rewards": np.float32, "dones": np.bool_}


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
