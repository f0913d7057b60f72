"""Public checkpoints: written as Craftax_Baselines does, and networks of its own to compare with."""

import base64
import errno
import json
import runpy
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import polars as pl
import pytest
from flax.training.train_state import TrainState

from remdm import cli
from remdm.base.errors import UserError
from remdm.commands.configuration import call_of, configured
from remdm.config.layers import base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.envs.craftax import Game, load_game
from remdm.experts.network import make_network
from remdm.loading.checkpoint import describe, trained_frames
from remdm.loading.expert import load_expert
from remdm.loading.planner import load_denoiser
from remdm.loading.public import read_public, summary
from remdm.stages.training import resumed
from remdm.training import checkpoint
from remdm.training.public import GAMES
from tests.conftest import REPOSITORY
from tests.damage import refused_or_unharmed
from tests.tiers import slow_except

CLASSIC, FULL = GAMES
KINDS = ("ppo", "ppo_rnn", "ppo_rnd")
OBS, ACTIONS = 6, 5
GAME = Game(env=None, params=None, num_actions=ACTIONS, obs_dim=OBS, achievements=())
HANDLERS = {
    "ocdbt": {"use_ocdbt": True},
    "zarr": {"use_ocdbt": False},
    "ocdbt-zarr3": {"use_ocdbt": True, "use_zarr3": True},
    "zarr3": {"use_ocdbt": False, "use_zarr3": True},
}
FORMATS = (*HANDLERS, "msgpack")


def random_params(kind, size, obs=OBS, actions=ACTIONS, seed=0):
    """Parameters at the paths of the public networks, biases too drawn at random."""
    rng = np.random.default_rng(seed)

    def dense(fan_in, fan_out, bias=True):
        kernel = rng.normal(size=(fan_in, fan_out)) * fan_in**-0.5
        layer = {"kernel": kernel, "bias": rng.normal(size=fan_out)}
        return {name: x.astype(np.float32) for name, x in layer.items() if bias or name == "kernel"}

    def stack(first, widths):
        return {f"Dense_{first + i}": dense(*pair) for i, pair in enumerate(pairwise(widths))}

    if kind == "ppo_rnn":
        gates = {
            gate: dense(size, size, bias=gate not in ("hr", "hz"))
            for gate in ("ir", "iz", "in", "hr", "hz", "hn")
        }
        return {
            **stack(0, (obs, size)),
            "ScannedRNN_0": {"GRUCell_1": gates},
            **stack(1, (size, size, size, actions)),
            **stack(4, (size, size, size, 1)),
        }
    heads = (actions, 1) if kind == "ppo" else (actions, 1, 1)
    return {
        k: v for i, out in enumerate(heads) for k, v in stack(4 * i, (obs, size, size, size, out)).items()
    }


def reference_logits(kind, params, obs, first):
    """Logits [T, B, A] of the public network on observations [T, B, D], in float64 and plain numpy."""

    def dense(layer, x):
        return x @ np.float64(layer["kernel"]) + np.float64(layer.get("bias", 0.0))

    if kind != "ppo_rnn":
        x = np.float64(obs)
        for i in range(3):
            x = np.tanh(dense(params[f"Dense_{i}"], x))
        return dense(params["Dense_3"], x)
    gates = params["ScannedRNN_0"]["GRUCell_1"]
    hidden = np.zeros((obs.shape[1], gates["hn"]["kernel"].shape[0]))
    logits = []
    for x, starts in zip(np.float64(obs), first, strict=True):
        hidden = np.where(starts[:, None], 0.0, hidden)
        x = np.maximum(dense(params["Dense_0"], x), 0.0)
        reset, update = (
            1 / (1 + np.exp(-(dense(gates[f"i{gate}"], x) + dense(gates[f"h{gate}"], hidden))))
            for gate in "rz"
        )
        new = np.tanh(dense(gates["in"], x) + reset * dense(gates["hn"], hidden))
        hidden = (1 - update) * new + update * hidden
        x = hidden
        for i in (1, 2):
            x = np.maximum(dense(params[f"Dense_{i}"], x), 0.0)
        logits.append(dense(params["Dense_3"], x))
    return np.stack(logits)


def write(folder, params, form="ocdbt", frames=1000):
    """Save `policies/<frames>/default` in a run's folder as a training run does; returns `policies`."""
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3, eps=1e-5))
    state = TrainState.create(apply_fn=None, params=jax.tree.map(jnp.asarray, params), tx=tx)
    handler = ocp.PyTreeCheckpointHandler(**HANDLERS.get(form, HANDLERS["zarr"]))
    options = ocp.CheckpointManagerOptions(create=True)
    with ocp.CheckpointManager(folder / "policies", ocp.Checkpointer(handler), options) as manager:
        manager.save(frames, state)
    if form == "msgpack":
        put_together(folder / "policies" / str(frames) / "default", state)
    return folder / "policies"


def put_together(folder, state):
    """What Orbax 0.5 left with `save_args_from_target` on one device: all arrays in one file."""
    record = json.loads((folder / "_METADATA").read_text())
    for leaf in record["tree_metadata"].values():
        leaf["value_metadata"]["skip_deserialize"] = True
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "_METADATA").write_text(json.dumps(record))
    (folder / "checkpoint").write_bytes(flax.serialization.to_bytes(state))


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A ppo_rnn of layer size 8 in any format; returns a copy that may be damaged."""
    params = {"params": random_params("ppo_rnn", 8)}

    def make(tmp_path, form="zarr"):
        whole = tmp_path_factory.getbasetemp() / "public" / form
        if not whole.exists():
            write(whole, params, form)
        return shutil.copytree(whole / "policies", tmp_path / "policies")

    return make


def load(path, game=GAME):
    return load_expert("ppo_checkpoint_path", str(path), CLASSIC, game, temperature=0.0)


def write_ours(folder, kind, params):
    network = ExpertConfig(ppo_model_type=kind, layer_size=8)
    metadata = describe("expert", CLASSIC, network, update=3, frames_per_update=10)
    checkpoint.save(folder, {"params": {"params": params}}, metadata)


def actions(policy, obs, first):
    """What a policy plays [T, B] on observations [T, B, D]."""
    memory, played = policy.init(obs.shape[1]), []
    act = jax.jit(policy.act)
    for step, starts in zip(obs, first, strict=True):
        action, memory = act(jax.random.PRNGKey(0), step, jnp.zeros(len(step), int), starts, memory)
        played.append(action)
    return played


def sequence(length=12, batch=7):
    rng = np.random.default_rng(1)
    obs = rng.normal(size=(length, batch, OBS)).astype(np.float32)
    return obs, rng.random((length, batch)) < 0.25


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", slow_except([8, 24], [8]))
@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_the_original_network(kind, size, form, tmp_path):
    params = random_params(kind, size)
    policies = write(tmp_path, {"params": params} if size == 8 else params, form)
    obs, first = sequence()
    expected = reference_logits(kind, params, obs, first)

    expert = read_public(policies)
    assert expert.model.network.model_dump() == {"ppo_model_type": kind, "layer_size": size}
    network = make_network(expert.model.network, ACTIONS)
    memory = network.initial_state(obs.shape[1])
    _, logits, _ = network.apply(expert.params(), memory, jnp.asarray(obs), jnp.asarray(first))
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)

    np.testing.assert_array_equal(actions(load(policies), obs, first), expected.argmax(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_ours_plays_as_the_parameters_it_was_written_with(kind, tmp_path):
    params, (obs, first) = random_params(kind, 8), sequence()
    write_ours(tmp_path / "ours", kind, params)
    expected = reference_logits(kind, params, obs, first).argmax(-1)
    np.testing.assert_array_equal(actions(load(tmp_path / "ours"), obs, first), expected)


def test_the_reference_sees_resets_and_biases():
    """Else the comparison above would prove little."""
    params, (obs, first) = random_params("ppo_rnn", 8), sequence()
    logits = reference_logits("ppo_rnn", params, obs, first)
    assert np.abs(logits - reference_logits("ppo_rnn", params, obs, np.zeros_like(first))).max() > 0.01
    params["ScannedRNN_0"]["GRUCell_1"]["hn"]["bias"] *= 0
    assert np.abs(logits - reference_logits("ppo_rnn", params, obs, first)).max() > 0.01


@pytest.mark.parametrize(("name", "frames"), [("1000000000.0", 10**9), ("1e9", 10**9), ("2500.", 2500)])
def test_steps_named_after_floats_are_found(public, tmp_path, name, frames):
    """As a default run of Craftax_Baselines names its last one."""
    policies = public(tmp_path)
    (policies / "1000").rename(policies / name)
    shutil.copytree(policies / name, policies / "900.0")
    assert read_public(tmp_path).frames == frames
    assert read_public(policies / name).folder == policies / name / "default"


@pytest.mark.parametrize("name", ["1e999", "-1", "0x10", "nan", "1_000", "٣", "1.5"])
def test_what_is_no_number_of_frames_is_no_step(public, tmp_path, name):
    policies = public(tmp_path)
    (policies / "1000").rename(policies / name)
    with pytest.raises(UserError, match="no checkpoint found"):
        read_public(tmp_path)


def test_all_ways_to_name_it_lead_to_the_most_frames(tmp_path, caplog):
    for frames in (900, 1000):  # as words, 900 comes last
        write(tmp_path, random_params("ppo", 8, seed=frames), frames=frames)
    policies = tmp_path / "policies"
    (policies / "2000.orbax-checkpoint-tmp-1").mkdir()  # a save that was never finished
    wanted = random_params("ppo", 8, seed=1000)["Dense_0"]["bias"]
    for path in (tmp_path, policies, policies / "1000", policies / "1000" / "default"):
        expert = read_public(path)
        assert expert.frames == 1000
        np.testing.assert_array_equal(expert.arrays["params/Dense_0/bias"], wanted)
    assert read_public(policies / "900").frames == 900
    # Arrays right in the step's folder, and in a folder that no step is named after.
    moved = shutil.copytree(policies / "1000" / "default", tmp_path / "elsewhere")
    assert read_public(moved).frames is None
    assert [trained_frames(path) for path in (str(policies), str(moved), None)] == [1000, None, None]
    write_ours(tmp_path / "ours", "ppo", random_params("ppo", 8))
    assert trained_frames(str(tmp_path / "ours")) == 30
    with caplog.at_level("INFO", "remdm"):
        load(policies)
    assert "expert: a ppo of layer_size 8 for observations of 6 and 5 actions" in caplog.text
    assert f"; from {policies}/1000/default" in caplog.text


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_devices_it_was_saved_on_are_not_needed(public, tmp_path):
    policies = public(tmp_path, "ocdbt")
    record = policies / "1000" / "default" / "_sharding"
    cuda = {"sharding_type": "SingleDeviceSharding", "device_str": "cuda:3"}
    record.write_text(json.dumps(dict.fromkeys(json.loads(record.read_text()), json.dumps(cuda))))
    assert any(b"kernel" in base64.b64decode(name) for name in json.loads(record.read_text()))
    with pytest.raises(ValueError, match="sharding"), ocp.PyTreeCheckpointer() as plain:
        plain.restore(record.parent)
    load(policies)


def test_a_record_older_than_zarr3_is_of_zarr(public, tmp_path):
    policies = public(tmp_path)
    path = policies / "1000" / "default" / "_METADATA"
    record = json.loads(path.read_text())
    del record["use_zarr3"]
    path.write_text(json.dumps(record))
    arrays = read_public(policies).arrays
    wanted = random_params("ppo_rnn", 8)["Dense_0"]["bias"]
    np.testing.assert_array_equal(arrays["params/Dense_0/bias"], wanted)


def refusal(path, game=GAME):
    with pytest.raises(UserError) as raised:
        load(path, game)
    line = str(raised.value)
    assert "\n" not in line
    assert line.startswith("ppo_checkpoint_path")
    assert str(path) in line
    return line


def test_what_is_no_checkpoint_is_named(tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere")
    empty, foreign, stepless, unfinished = (
        tmp_path / name for name in ("empty", "foreign", "policies", "1000")
    )
    for folder in (empty, foreign, stepless, unfinished):
        folder.mkdir()
    assert "no checkpoint found (contains no files); name a folder" in refusal(empty)
    for name in ("README.md", "model.pt", "a.txt", "b.txt"):
        (foreign / name).write_text("")
    assert "no checkpoint found (contains README.md, a.txt, b.txt, ...); name a folder" in refusal(foreign)
    assert "is a file; name a folder" in refusal(foreign / "model.pt")
    (stepless / "1000.orbax-checkpoint-tmp-1").mkdir()
    assert "no checkpoint found (contains 1000.orbax-checkpoint-tmp-1); name" in refusal(stepless)
    assert "step 1000 is incomplete: it has no default/_METADATA" in refusal(unfinished)
    (stepless / "7").mkdir()
    assert "step 7 is incomplete" in refusal(stepless)


def test_what_lies_in_folders_of_ours_is_named_as_ours(tmp_path):
    """Snapshots are numbered as public steps are, and an item is a folder of arrays as theirs are."""
    finished, snapshots = tmp_path / "checkpoint", tmp_path / "state" / "snapshots"
    write_ours(finished, "ppo", random_params("ppo", 8))
    write_ours(snapshots / "000000000012", "ppo", random_params("ppo", 8))
    for path, ours in ((finished / "params", finished), (snapshots, snapshots / "000000000012")):
        assert f"leads to {ours}, which is a checkpoint of ours, not a public one" in refusal(path)


def test_training_goes_on_from_one_of_ours_alone(public, tmp_path):
    policies = public(tmp_path)
    for model in (PPOConfig, OfflineConfig):
        for step in (None, 2):
            given = {"resume_checkpoint_path": str(policies), "resume_step": step}
            config = build(model, base_layers(None)).updated(**given)
            with pytest.raises(UserError) as raised:
                resumed(config, config.resume)
            assert str(raised.value) == (
                f"resume_checkpoint_path: checkpoint {policies}: is a ppo_rnn of layer_size 8 for "
                f"observations of 6 and 5 actions, which is no game of ours, "
                f"but a checkpoint of ours is needed"
            )


def loads_unharmed(policies, whole):
    """Whether the parameters are as they were; false if that is refused."""
    line = refused_or_unharmed(policies, whole)
    assert line is None or "damaged: " in line or "is incomplete" in line
    return line is None


@pytest.mark.parametrize("how", ["deleted", "truncated", "emptied"])
@pytest.mark.parametrize("form", FORMATS)
def test_damage_to_any_file_with_parameters_is_an_error(public, form, how, tmp_path):
    """Every file is damaged in turn: it is refused, or the parameters are unharmed."""
    policies = public(tmp_path, form)
    folder = policies / "1000" / "default"
    whole = read_public(policies).arrays
    refused = set()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = file.relative_to(folder).as_posix()
        if name.startswith(("opt_state.", "params.")) and not name.startswith("params.params.Dense_0.bias"):
            continue  # one array stands for all
        content = file.read_bytes()
        if how == "deleted":
            file.unlink()
        else:
            file.write_bytes(content[: len(content) // 2 if how == "truncated" else 0])
        if not loads_unharmed(policies, whole):
            refused.add(name)
        file.write_bytes(content)
    assert "_METADATA" in refused
    needed = {
        "zarr": {"params.params.Dense_0.bias/0", "params.params.Dense_0.bias/.zarray"},
        "zarr3": {"params.params.Dense_0.bias/c/0", "params.params.Dense_0.bias/zarr.json"},
        "msgpack": {"checkpoint"},
    }
    assert needed.get(form, {"manifest.ocdbt"}) <= refused


def test_an_array_that_its_common_file_lacks_is_named(public, tmp_path):
    policies = public(tmp_path, "msgpack")
    together = policies / "1000" / "default" / "checkpoint"
    state = flax.serialization.msgpack_restore(together.read_bytes())
    del state["params"]["params"]["Dense_2"]["bias"]
    together.write_bytes(flax.serialization.msgpack_serialize(state))
    assert "(damaged: array params/params/Dense_2/bias is missing from checkpoint)" in refusal(policies)


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_missing_data_are_no_zeros_where_orbax_takes_them_for_zeros(public, tmp_path):
    """As in checkpoints of 2024, whose record does not say that zeros are written out."""
    policies = public(tmp_path)
    folder = policies / "1000" / "default"
    record = json.loads((folder / "_METADATA").read_text())
    del record["store_array_data_equal_to_fill_value"]
    (folder / "_METADATA").write_text(json.dumps(record))
    (folder / "params.params.Dense_0.bias" / "0").unlink()
    with ocp.PyTreeCheckpointer() as plain:
        assert not plain.restore(folder)["params"]["params"]["Dense_0"]["bias"].any()
    assert "(damaged: array params/params/Dense_0/bias: NOT_FOUND: chunk" in refusal(policies)


def test_damage_is_one_line_of_the_command(public, tmp_path):
    policies = public(tmp_path)
    (policies / "1000/default/params.params.Dense_0.bias/0").unlink()
    command = [sys.executable, "-m", "remdm.cli", "show", str(policies)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (
        "1000: default cannot be restored (damaged: array params/params/Dense_0/bias: NOT_FOUND"
        in done.stderr
    )


def test_other_networks_are_named_by_what_they_have(tmp_path):
    encoder = {"encoder": {"kernel": np.ones((3, 4), np.float32)}}
    message = (
        "is no ppo, ppo_rnn or ppo_rnd of Craftax_Baselines, but has the arrays params/encoder/kernel [3, 4]"
    )
    assert message in refusal(write(tmp_path / "foreign", {"params": encoder}))

    def without(place, name, **others):
        params = random_params("ppo_rnn", 8)
        (params if place is None else params["ScannedRNN_0"]["GRUCell_1"]).pop(name)
        return params | others

    quite = "is not quite a ppo_rnn of layer_size 8 for observations of 6 and 5 actions"
    assert (
        f"{quite}, which is no game of ours: its array params/Dense_5/bias is absent, but should be [8]"
        in refusal(write(tmp_path / "layer", without(None, "Dense_5")))
    )
    assert "its array params/ScannedRNN_0/GRUCell_1/hr/kernel is absent" in refusal(
        write(tmp_path / "gate", without("gru", "hr"))
    )
    more = random_params("ppo", 8) | {"Dense_9": random_params("ppo", 8)["Dense_0"]}
    assert "its array params/Dense_9/bias is [8], but should be absent" in refusal(
        write(tmp_path / "more", more)
    )

    other = tmp_path / "other" / "1" / "default"
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(other, {"model": {"kernel": np.ones(3)}})
    assert "it contains no array below params" in refusal(other.parents[1])


def test_the_wrong_game_or_kind_is_an_error_that_says_what_it_is(tmp_path):
    policies = write(tmp_path, {"params": random_params("ppo_rnd", 8, *GAMES[FULL])})
    classic = Game(None, None, num_actions=17, obs_dim=1345, achievements=())
    is_ = "is a ppo_rnd of layer_size 8 for observations of 8268 and 43 actions, which is Craftax-Symbolic-v1"
    assert refusal(policies, classic) == (
        f"ppo_checkpoint_path = {policies}: {is_}, but an expert is needed for observations of 1345 and 17 "
        f"actions, which is Craftax-Classic-Symbolic-v1"
    )
    full = Game(None, None, num_actions=43, obs_dim=8268, achievements=())
    with pytest.raises(UserError, match=f"offline_checkpoint_path = .*: {is_}, but a planner is needed for"):
        load_denoiser("offline_checkpoint_path", str(policies), None, full)
    planner = tmp_path / "planner"
    checkpoint.save(planner, {"params": {"a": jnp.ones(3)}}, {"kind": "planner", "env_name": CLASSIC})
    assert "its kind is planner, but expert is needed" in refusal(planner, classic)


def run_fetching_job(tmp_path):
    output = SimpleNamespace(checkpoint=str(tmp_path / "slug" / "checkpoint"))
    params = SimpleNamespace(reference="wandb:us/craftax/expert:v0")
    job = SimpleNamespace(log=[str(tmp_path / "log")], output=output, params=params)
    runpy.run_path(str(REPOSITORY / "scripts" / "expert.py"), init_globals={"snakemake": job})


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no way to it"), "error: no way to it"),
        (OSError(errno.ENOSPC, "No space left on device", "slug"), "error: slug: No space left on device"),
    ],
)
def test_a_fetch_that_fails_is_one_line_of_the_log(error, line, tmp_path, monkeypatch):
    def fetch(reference, folder):
        raise error

    monkeypatch.setattr("remdm.training.fetching.fetch", fetch)
    with pytest.raises(SystemExit) as stopped:
        run_fetching_job(tmp_path)
    assert stopped.value.code == 2
    [told] = (tmp_path / "log").read_text().splitlines()
    assert told.endswith(line)


def test_the_job_that_fetches_leaves_the_checkpoint_alone(public, tmp_path, monkeypatch):
    """As the rule `expert` runs it, but for W&B itself."""

    def fetch(reference, folder):
        assert reference == "wandb:us/craftax/expert:v0"
        return public(folder / "us" / "craftax" / "expert").rename(folder / "v0")

    monkeypatch.setattr("remdm.training.fetching.fetch", fetch)
    run_fetching_job(tmp_path)
    assert [path.name for path in (tmp_path / "slug").iterdir()] == ["checkpoint"]
    load(tmp_path / "slug" / "checkpoint")


@pytest.mark.parametrize("env_name", GAMES)
def test_games_are_told_by_their_widths(env_name):
    game = load_game(env_name)
    assert GAMES[env_name] == (game.obs_dim, game.num_actions)


def test_the_command_takes_game_and_policy_from_the_arrays(tmp_path):
    policies = write(tmp_path, {"params": random_params("ppo", 8, *GAMES[FULL])})
    told = summary(policies)
    assert {name: told[name] for name in ("game", "trained", "ppo_model_type", "layer_size", "actions")} == {
        "game": FULL, "trained": "1000 frames", "ppo_model_type": "ppo", "layer_size": "8", "actions": "43",
    }  # fmt: skip

    def built(*arguments):
        parsed = cli._parser().parse_args(["inference", "--checkpoint_path", str(policies), *arguments])
        return configured(call_of(parsed))[0]

    config = built()
    assert (config.env.env_name, config.policy) == (FULL, "expert")
    config = built("--env_name", CLASSIC, "--policy", "planner")
    assert (config.env.env_name, config.policy) == (CLASSIC, "planner")


@pytest.mark.slow
def test_inference_plays_a_public_expert(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"params": random_params("ppo_rnn", 16, *GAMES[CLASSIC])})
    sizes = ["--eval_num_envs", "8", "--eval_steps", "400"]
    cache = ["--compilation_cache_dir", str(REPOSITORY / ".tests-cache")]
    arguments = ["inference", "--policy", "expert", "--checkpoint_path", "policies", "--output", "out"]
    status = cli.main([*arguments, *sizes, *cache, "--seed", "0", "--no-use-wandb", "--progress", "false"])
    assert status == 0, capsys.readouterr().err
    assert pl.read_parquet(Path("out") / "episodes.parquet").height > 3
    record = json.loads(Path("out/summary.json").read_text())
    assert (record["policy"], record["trained_frames"]) == ("expert", 1000)
