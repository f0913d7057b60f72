"""Several devices and processes: forced on the CPU, in processes of their own (`devices.py`)."""

import json
import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from remdm.base.errors import UserError
from remdm.config.layers import base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.play.buffer import empty, insert
from remdm.stages.budget import check_devices
from remdm.stages.session import prepare_jax
from remdm.training.devices import traced_on
from remdm.training.loop import train
from tests.devices import (
    NAMES,
    E,
    algorithm_of,
    assert_alike,
    craftax,
    interrupt,
    play,
    ppo_config,
    run_of,
    start,
)
from tests.kill import read_metrics
from tests.test_planners import OnlineConfig, config_of


def finish(*processes):
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0, output[-3000:]


def metrics(folder, results="run"):
    return read_metrics(folder / results)


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """What eight devices leave; they go on from a state that one device saved."""
    folder = tmp_path_factory.mktemp("eight")
    interrupt("online", folder / "from-one")
    finish(start("eight", folder, 8))
    return folder, json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The metrics of one device, by algorithm."""
    folder = tmp_path_factory.mktemp("one")
    for name in NAMES:
        train(algorithm_of(name), 0, run_of(folder / name))
    return {name: metrics(folder / name) for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_eight_devices_give_the_metrics_of_one(eight, one, name):
    folder, _ = eight
    assert_alike(metrics(folder / name), one[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_games_and_buffer_are_split_and_parameters_copied(eight, name):
    """No device holds more than its share of what grows with the environments."""
    shares = eight[1]["shares"][name]
    grows = ("algorithm/play/", "algorithm/buffer/items", "algorithm/exploration/inverse_covariance")
    split = 0
    for leaf, (shape, share) in shares.items():
        if leaf.startswith(grows) and shape:
            assert share == [shape[0] // 8, *shape[1:]], leaf
            split += 1
        else:
            assert share == shape, leaf
    assert split > 10
    if name == "online":
        # 203 windows, and what fills the last device's share.
        assert shares["algorithm/buffer/items/plan"][0][0] == 208


@pytest.mark.slow
def test_a_step_of_environments_says_nothing_to_other_devices(eight):
    assert eight[1]["collectives"] == {"pooled": [], "optimistic": []}


@pytest.mark.slow
def test_worlds_are_those_of_one_device_until_an_episode_ends_and_nobody_elses_after(eight):
    worlds, left = np.array(eight[1]["worlds"])
    assert worlds.shape == (40, E)
    expected, expected_left = np.array(play())
    untouched = np.cumprod(expected_left[1:] < expected_left[:-1], axis=0).astype(bool)
    assert untouched.sum() > 20
    assert (worlds[:-1][untouched] == expected[:-1][untouched]).all()
    for e in range(E):
        others = np.delete(worlds, e, axis=1)
        assert not set(worlds[:, e]) & set(others.ravel())
        # An episode of a fresh world lasts as long as that world says.
        changed = worlds[1:, e] != worlds[:-1, e]
        assert ((left[1:, e] == left[:-1, e] - 1) == ~changed).all()
    assert len(np.unique(worlds)) > 2 * E


@pytest.mark.slow
def test_a_state_moves_between_one_device_and_eight(eight, one):
    folder, _ = eight
    assert_alike(metrics(folder / "from-one"), one["online"])
    train(algorithm_of("online"), 0, run_of(folder / "from-eight"))
    assert_alike(metrics(folder / "from-eight"), one["online"])


@pytest.mark.slow
def test_on_eight_devices_a_resumed_run_equals_an_uninterrupted_one(eight):
    folder, _ = eight
    assert metrics(folder / "resumed").equals(metrics(folder / "online"))


@pytest.mark.slow
def test_repetitions_share_the_devices(eight, tmp_path):
    folder, _ = eight
    train(algorithm_of("ppo"), 0, run_of(tmp_path), repeats=2)
    for repeat in ("r0", "r1"):
        assert_alike(metrics(folder / "repeats" / "run", repeat), metrics(tmp_path / "run", repeat))


@pytest.mark.slow
def test_the_real_game_on_eight_devices(tmp_path):
    process = start("craftax", tmp_path / "eight", 8)
    craftax(tmp_path / "one")
    finish(process)
    assert_alike(metrics(tmp_path / "eight"), metrics(tmp_path / "one"))


@pytest.mark.slow
def test_two_processes_are_one_run_that_the_first_writes(tmp_path, one):
    """As Slurm starts them; interrupted and going on, so states are gathered and brought back."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    slurm = {
        "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2", "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
    }  # fmt: skip
    finish(*(start("two", tmp_path, 2, SLURM_PROCID=str(p), SLURM_LOCALID=str(p), **slurm) for p in range(2)))
    assert_alike(metrics(tmp_path, "run0"), one["online"])
    assert not (tmp_path / "run1").exists()


def test_environments_that_devices_cannot_share_evenly_are_refused():
    with pytest.raises(UserError, match=r"^ppo_num_envs = 8: must be a multiple of the 3 devices .* as 9 is"):
        check_devices(ppo_config(), 3)
    config = config_of(OnlineConfig, val_num_envs=6)
    check_devices(config, 2)
    with pytest.raises(UserError, match=r"^val_num_envs = 6: must be a multiple of the 4 devices .* as 8 is"):
        check_devices(config, 4)


def test_only_training_is_for_several_processes(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(UserError, match="SLURM_STEP_NUM_TASKS = 2: only training"):
        prepare_jax(build(RuntimeConfig, base_layers(None)))


def test_several_processes_need_the_same_seed(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(UserError, match="seed = None: must be given where several processes"):
        ppo_config(seed=None)


def test_a_buffer_has_as_many_rows_on_each_device_but_its_own_capacity():
    item = np.zeros(3)
    with traced_on(AbstractMesh((4,), ("data",), axis_types=(AxisType.Auto,))):
        shape = jax.eval_shape(lambda: empty(6, item)).items.shape
    assert shape == (8, 3)
    buffer = empty(6, item).replace(items=jnp.zeros((8, 3)))
    buffer = insert(insert(buffer, np.ones((4, 3))), np.full((4, 3), 2.0))
    assert buffer.items[:, 0].tolist() == [2, 2, 1, 1, 2, 2, 0, 0]
    assert (buffer.size, buffer.next, buffer.capacity) == (6, 2, 6)
