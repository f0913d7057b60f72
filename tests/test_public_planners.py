"""Planners of the public implementation: `tests/public_planner`, as its training run left it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import remdm
from remdm import cli
from remdm.base.checkpoint_folder import read_metadata
from remdm.base.errors import UserError
from remdm.base.reader import read_mapping
from remdm.commands.configuration import call_of, configured
from remdm.config.denoiser import NO_PAST, DenoiserConfig
from remdm.config.layers import Layer
from remdm.envs.craftax import Game
from remdm.loading.expert import load_expert
from remdm.loading.planner import load_denoiser, read_network
from remdm.loading.public import public_network, read_public, summary
from remdm.planners.denoising import make_denoiser
from remdm.planners.public import PublicPlanner
from remdm.training import checkpoint
from remdm.training.public import GAMES
from remdm.workflow.digest import content_digest
from remdm.workflow.plan import Job, Plan
from tests.conftest import REPOSITORY
from tests.damage import refused_or_unharmed
from tests.test_baselines import random_params, write
from tests.test_crafted import BAD_JSON
from tests.test_library import save_planner
from tests.toy import GAME, ToyEnv

FIXTURE = REPOSITORY / "tests" / "public_planner"
WORKFLOW = REPOSITORY / "workflow_config.yaml"
CLASSIC, FULL = GAMES
OBS, ACTIONS = GAMES[CLASSIC]
CRAFTAX = Game(env=None, params=None, num_actions=ACTIONS, obs_dim=OBS, achievements=())
STEP = "1840"


@pytest.fixture(scope="module")
def given():
    """Inputs of the original network, and the logits that it gave."""
    with np.load(FIXTURE / "logits.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def planner(tmp_path, monkeypatch):
    """A copy of `policies/` that may be damaged, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(FIXTURE / "policies", "policies"))


def logits(path, given, **network):
    loaded, _, params = load_denoiser("checkpoint_path", str(path), None, CRAFTAX)
    denoiser = make_denoiser(loaded.updated(**network), ACTIONS)
    return jax.jit(denoiser.apply)(params, given["obs"], given["tokens"], given["t"])


def edit(path, **entries):
    """Change entries of the record; None takes one out."""
    record = json.loads((path / "resume_metadata.json").read_text())
    config = record["config_snapshot"] | entries
    record["config_snapshot"] = {key: value for key, value in config.items() if value is not None}
    (path / "resume_metadata.json").write_text(json.dumps(record))


def refusal(path, key="checkpoint_path"):
    with pytest.raises(UserError) as raised:
        load_denoiser(key, str(path), None, CRAFTAX)
    line = str(raised.value)
    assert "\n" not in line
    assert line.startswith(key)
    return line


# --- what it computes ---


@pytest.mark.parametrize("place", ["", "policies", f"policies/{STEP}", f"policies/{STEP}/default"])
def test_logits_equal_those_of_the_original_network(place, given):
    found = logits(FIXTURE / place, given)
    np.testing.assert_allclose(found, given["logits"], atol=1e-5, rtol=0)


def test_the_comparison_sees_the_scale_of_the_time(given):
    """Else it would prove little: trained for five updates, the network gives small logits."""
    assert np.abs(logits(FIXTURE, given, time_scale=1000.0) - given["logits"]).max() > 1e-3


def test_its_keys_come_from_arrays_and_record():
    model = public_network(FIXTURE)
    assert model.network.model_dump() == {
        "plan_horizon": 8, "diffusion_schedule": "cosine", "d_model": 32, "n_heads": 2, "n_layers": 1,
        "d_ff": 64, "obs_encoder_layers": 1, "obs_encoder_width": 64, "time_scale": 1.0, "dropout_rate": 0.1,
        "compute_dtype": "float32", **NO_PAST,
    }  # fmt: skip
    assert model.sampling.values == {
        "diffusion_steps_eval": 10, "remask_strategy": "rescale", "eta": 0.5, "use_loop": True, "t_on": 0.7,
        "t_off": 0.3, "temperature": 0.5, "top_p": 0.95,
    }  # fmt: skip
    told = summary(FIXTURE)
    wanted = {"kind": "planner, of the public implementation", "game": CLASSIC, "trained": "1840 frames"}
    assert {name: told[name] for name in wanted} == wanted
    assert (told["parameters"], told["n_heads"], told["temperature"]) == ("100,209", "2", "0.5")


TWO_LAYERS = {
    "obs_encoder/Dense_0": "Dense_0", "obs_encoder/LayerNorm_0": "LayerNorm_0",
    "obs_encoder/Dense_1": "Dense_1", "obs_encoder/Dense_2": "Dense_2",
    "time_embedding/Dense_0": "Dense_3", "time_embedding/Dense_1": "Dense_4", "head": "Dense_5",
    "token_embedding": "Embed_0", "final_norm": "LayerNorm_1",
    "blocks_1/LayerNorm_0": "TransformerBlock_1/LayerNorm_0",
    "blocks_1/attention/out": "TransformerBlock_1/MultiHeadDotProductAttention_0/out",
    "blocks_0/ffn_in": "TransformerBlock_0/Dense_0", "blocks_0/ffn_out": "TransformerBlock_0/Dense_1",
}  # fmt: skip


def larger(obs_dim=6, num_actions=5, value=None):
    """A planner with two layers of each kind, for another game, and arrays of random numbers."""
    network = DenoiserConfig(
        plan_horizon=4, diffusion_schedule="linear", d_model=8, n_heads=2, n_layers=2, d_ff=12,
        obs_encoder_layers=2, obs_encoder_width=10, time_scale=1.0, dropout_rate=0.0, compute_dtype="float32",
        **NO_PAST,
    )  # fmt: skip
    model = PublicPlanner(network, obs_dim, num_actions, Layer("test", {}))
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=leaf.shape).astype(np.float32)
        for name, leaf in checkpoint.named(model.shapes()).items()
    }
    return model, arrays


def save(folder, model, arrays, record=None):
    """`policies/` of a run that trained such a planner."""
    tree = {}
    for name, array in arrays.items():
        *parents, last = model.public_name(name).removeprefix("params/").split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = array
    policies = write(folder, {"params": tree})
    unseen = {"PLAN_HORIZON": 4, "DIFFUSION_SCHEDULE": "linear", "DROPOUT_RATE": 0.0}
    (policies / "resume_metadata.json").write_text(json.dumps({"config_snapshot": record or unseen}))
    return policies


def test_larger_planners_are_read_by_the_same_names(tmp_path):
    model, arrays = larger()
    for ours, theirs in TWO_LAYERS.items():
        assert model.public_name(f"params/{ours}/kernel") == f"params/{theirs}/kernel"
    found = read_public(save(tmp_path, model, arrays))
    assert found.model.network == model.network
    assert found.frames == 1000
    read = checkpoint.named(found.params())
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_devices_it_was_saved_on_are_not_needed(planner, given):
    record = planner / STEP / "default" / "_sharding"
    cuda = {"sharding_type": "SingleDeviceSharding", "device_str": "cuda:3"}
    record.write_text(json.dumps(dict.fromkeys(json.loads(record.read_text()), json.dumps(cuda))))
    np.testing.assert_allclose(logits(planner, given), given["logits"], atol=1e-5, rtol=0)


def test_checkpoints_of_ours_that_are_older_than_a_key_are_as_they_were_trained(tmp_path):
    path = save_planner(tmp_path / "older")
    metadata = json.loads((path / "metadata.json").read_text())
    whole = dict(metadata["network"])
    assert metadata["network"].pop("time_scale") == 1000.0
    for key, value in NO_PAST.items():
        assert metadata["network"].pop(key) == value
    (path / "metadata.json").write_text(json.dumps(metadata))
    (path / "checksums.json").unlink()
    assert read_network("checkpoint_path", str(path), CLASSIC).model_dump() == whole


# --- the record beside it ---


def test_arrays_alone_decide_what_they_show(planner):
    kept = {"PLAN_HORIZON": 8, "DIFFUSION_SCHEDULE": "cosine", "DROPOUT_RATE": 0.1}
    (planner / "resume_metadata.json").write_text(json.dumps({"config_snapshot": kept}))
    model = public_network(planner)
    assert (model.network, model.env_name) == (public_network(FIXTURE).network, CLASSIC)
    assert model.sampling.values == {}


def test_a_step_moved_elsewhere_takes_its_record_along(planner, given):
    moved = Path("elsewhere") / "1"
    shutil.copytree(planner / STEP, moved)
    assert "has no resume_metadata.json next to its steps, and no array shows PLAN_HORIZON" in refusal(moved)
    shutil.copy(planner / "resume_metadata.json", moved)
    np.testing.assert_allclose(logits(moved, given), given["logits"], atol=1e-5, rtol=0)


UNREADABLE = {
    "empty": "", "cut": "{", "a list": "[1]", "no snapshot of a configuration": '{"config_snapshot": 3}',
    "an empty record": "{}", **BAD_JSON, "none": None,
}  # fmt: skip


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_that_cannot_be_read_is_named(content, planner):
    path = planner / "resume_metadata.json"
    path.unlink()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_text(content, encoding="latin-1")
    assert "policies/resume_metadata.json: cannot be read as JSON with an object" in refusal(planner)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"PLAN_HORIZON": None}, "lacks PLAN_HORIZON in config_snapshot, which no array shows"),
        ({"DIFFUSION_SCHEDULE": None, "DROPOUT_RATE": None}, "lacks DIFFUSION_SCHEDULE, DROPOUT_RATE in"),
        ({"PLAN_HORIZON": 10**7}, "plan_horizon = 10000000: should be less than or equal to 10000"),
        ({"PLAN_HORIZON": "eight"}, "plan_horizon = 'eight': should be a valid integer"),
        ({"DIFFUSION_SCHEDULE": "sine"}, "diffusion_schedule = 'sine': should be 'cosine' or 'linear'"),
        ({"DROPOUT_RATE": float("nan")}, "dropout_rate = nan: should be"),
        ({"N_HEADS": 4}, "N_HEADS = 4: its arrays are of 2"),
        ({"D_MODEL": 64}, "D_MODEL = 64: its arrays are of 32"),
        ({"ENV_NAME": FULL}, f"ENV_NAME = {FULL}: its arrays are of {CLASSIC}"),
    ],
)
def test_an_entry_that_is_missing_impossible_or_contradicts_the_arrays_is_named(entries, message, planner):
    edit(planner, **entries)
    assert f"policies/resume_metadata.json: {message}" in refusal(planner)


def test_entries_are_read_as_their_writer_meant_them(planner):
    """PyYAML, which read its configuration, takes 5e-1 for a string; and its `conf` is the paper's."""
    edit(planner, ETA="5e-1", REMASK_STRATEGY="conf")
    sampling = public_network(planner).sampling.values
    assert (sampling["eta"], sampling["remask_strategy"]) == (0.5, "conf_softmax")


# --- damage ---


@pytest.mark.parametrize("how", ["deleted", "truncated", "emptied"])
def test_damage_to_any_file_is_an_error_or_does_no_harm(how, planner):
    whole = read_public(planner).arrays
    refused = set()
    for file in sorted(file for file in planner.rglob("*") if file.is_file()):
        content = file.read_bytes()
        if how == "deleted":
            file.unlink()
        else:
            file.write_bytes(content[: len(content) // 2 if how == "truncated" else 0])
        if refused_or_unharmed(planner, whole) is not None:
            refused.add(file.name)
        file.write_bytes(content)
    assert {"_METADATA", "manifest.ocdbt", "resume_metadata.json"} <= refused
    assert len(refused) >= 5  # data too


def test_what_was_copied_in_part_or_is_another_network_is_named(planner, tmp_path):
    assert "no such folder" in refusal("nowhere")
    shutil.rmtree(planner / STEP / "default" / "ocdbt.process_0")
    assert "default cannot be restored (damaged: " in refusal(planner)
    shutil.rmtree(planner / STEP / "default")
    assert f"step {STEP} is incomplete: it has no default/_METADATA" in refusal(planner)
    shutil.rmtree(planner / STEP)
    assert "no checkpoint found (contains resume_metadata.json); name a folder" in refusal(planner)

    model, arrays = larger()
    one = {name: x for name, x in arrays.items() if name != "params/blocks_1/ffn_out/bias"}
    assert "its array params/TransformerBlock_1/Dense_1/bias is absent, but should be [8]" in refusal(
        save(tmp_path / "less", model, one)
    )
    bare = {"Embed_0": {"embedding": np.ones((3, 4), np.float32)}}
    assert (
        "is no planner of the public implementation, but has the arrays params/Embed_0/embedding [3, 4]"
        in refusal(write(tmp_path / "bare", {"params": bare}))
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float32("nan"), "is not finite; no policy can be made of it"),
        (np.float64(1e300), "is not finite; no policy can be made of it"),
        (np.int32(1), "is of int32, but should be of floats"),
    ],
)
def test_arrays_that_nothing_can_play_by_are_named(value, message, tmp_path):
    model, arrays = larger()
    arrays["params/head/bias"] = np.full(5, value)
    assert f"array params/Dense_5/bias {message}" in refusal(save(tmp_path, model, arrays))


def test_damage_is_one_line_of_the_command(planner, capsys):
    for path, message in (
        (planner / "resume_metadata.json", "has no resume_metadata.json next to its steps"),
        (planner / STEP / "default" / "manifest.ocdbt", "1840: default cannot be restored (damaged: "),
    ):
        path.unlink()
        for command in (["show"], ["inference", "--seed", "0", "--checkpoint_path"]):
            assert cli.main([*command, "policies"]) == 2
            [line] = [x for x in capsys.readouterr().err.splitlines() if not x[:1].isdigit()]
            assert line.startswith("error: ")
            assert message in line
        shutil.copytree(FIXTURE / "policies", planner, dirs_exist_ok=True)


def test_the_wrong_game_or_kind_is_an_error_that_says_what_it_is(planner, tmp_path):
    game = f"observations of 1345 and 17 actions, which is {CLASSIC}"
    full = replace(CRAFTAX, obs_dim=8268, num_actions=43)
    with pytest.raises(UserError) as raised:
        load_denoiser("offline_checkpoint_path", str(planner), None, full)
    assert str(raised.value) == (
        f"offline_checkpoint_path = {planner}: is a planner of d_model 32 and n_layers 1 for {game}, "
        f"but a planner is needed for observations of 8268 and 43 actions, which is {FULL}"
    )
    expert = write(tmp_path / "expert", {"params": random_params("ppo", 8, OBS, ACTIONS)})
    assert "is a ppo of layer_size 8" in refusal(expert)
    assert "but a planner is needed" in refusal(expert)
    message = "ppo_checkpoint_path: checkpoint .* is a planner, and no expert of Craftax_Baselines"
    with pytest.raises(UserError, match=message):
        load_expert("ppo_checkpoint_path", str(planner), CLASSIC, CRAFTAX, 1.0)


# --- commands ---


def built(*arguments):
    return configured(call_of(cli._parser().parse_args(list(arguments))))


def test_settings_come_from_the_record_unless_a_preset_or_a_flag_says_otherwise(planner):
    edit(planner, TEMPERATURE=0.25, ETA=0.75, DIFFUSION_STEPS_EVAL=12)
    play = ["--checkpoint_path", str(planner)]
    config = built("inference", *play)[0]
    assert (config.policy, config.env.env_name, config.diffusion_steps_eval) == ("planner", CLASSIC, 12)
    assert (config.sampler.temperature, config.sampler.eta) == (0.25, 0.75)
    config, _, notes = built("film", *play, "--config", "demo", "--eta", "0.1")
    assert (config.sampler.temperature, config.sampler.eta, config.diffusion_steps_eval) == (1.0, 0.1, 8)
    assert any(note.endswith("demo.yaml: d_model = 64: ignored; the checkpoint has 32") for note in notes)
    assert built("ablations", *play)[0].sampler.eta == 0.75
    assert built("sweep", *play)[0].sampler.temperature == 0.25
    edit(planner, ETA=7)
    with pytest.raises(UserError, match=r"policies/resume_metadata.json: eta = 7: should be"):
        built("inference", *play)


def test_a_warm_start_takes_the_network_and_what_may_change_may_change(planner):
    start = ["online", "--offline_checkpoint_path", str(planner), "--num_steps", "64"]
    network = built(*start)[0].denoiser
    assert network == public_network(planner).network
    config, _, notes = built(*start, "--config", "demo", "--plan_horizon", "4", "--time_scale", "1000")
    assert config.denoiser == network.updated(plan_horizon=4, dropout_rate=0.0)
    assert "command line: time_scale = 1000: ignored; the checkpoint has 1.0" in notes


def test_load_planner_takes_it(planner):
    edit(planner, TEMPERATURE=0.25)
    loaded = remdm.load_planner(planner, eta=0.1)
    assert loaded.env_name == CLASSIC
    sampler = loaded.planner.sampler
    assert (sampler.temperature, sampler.eta, sampler.steps) == (0.25, 0.1, 10)
    plans = loaded.plan(np.zeros((3, OBS), np.float32))
    assert plans.shape == (3, 8)


class WideEnv(ToyEnv):
    """The toy with observations as wide as Craftax Classic's, zeros for the most part."""

    def _obs(self, state):
        return jnp.zeros(OBS).at[: GAME.obs_dim].set(super()._obs(state))


WIDE = replace(GAME, env=WideEnv(), num_actions=ACTIONS, obs_dim=OBS)
LENGTHS = {
    "eval_num_envs": 4,
    "num_envs": 4,
    "num_steps": 16,
    "progress": False,
    "use_wandb": False,
    "seed": 0,
}
MODES = {
    "inference": {"eval_steps": 20},
    "film": {"film_num_envs": 2, "film_steps": 8},
    "sweep": {
        "sweep_strategies": "[rescale]", "sweep_steps": "[3]", "sweep_etas": "[0.5]", "sweep_windows": 8,
        "sweep_temperatures": "[1.0]", "sweep_plans": 2, "sweep_play_steps": 4,
    },
    "imitation": {"imitation_steps": 16},
    "ablations": {
        "arm": "lora", "ablation_iterations": 2, "ablation_batch_size": 8, "ablation_cka_batch": 8,
        "ablation_eval_replan": 4, "eval_steps": 16, "val_diffusion_steps": 3,
    },
    "online": {
        "num_minibatches": 2, "online_total_timesteps": 128, "val_steps": 8, "val_num_envs": 4,
        "val_diffusion_steps": 3, "diffusion_steps": 3, "update_epochs": 1, "lr": 1e-12,
    },
}  # fmt: skip


def run(mode, planner, expert):
    """A mode at its smallest size."""
    from remdm.config.stages import STAGES

    known = STAGES[mode].model.owners().keys() | {"progress", "use_wandb"}
    path = "offline_checkpoint_path" if mode == "online" else "checkpoint_path"
    given = {**LENGTHS, **MODES[mode], path: planner, "ppo_checkpoint_path": f"{expert}/policies"}
    flags = [
        (f"--{key}", str(x).lower() if isinstance(x, bool) else str(x))
        for key, x in given.items()
        if key in known
    ]
    cache = ["--compilation_cache_dir", str(REPOSITORY / ".tests-cache")]
    return cli.main([mode, *(text for flag in flags for text in flag), *cache, "--output", f"out/{mode}"])


@pytest.mark.parametrize(
    "mode", [mode if mode == "inference" else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES]
)
def test_every_mode_takes_it(mode, planner, monkeypatch, capsys):
    """In a toy game whose observations and actions are as many as Craftax Classic's."""
    from tests.test_film import toy_camera

    for place in ("envs.batch", "stages.film"):
        monkeypatch.setattr(f"remdm.{place}.load_game", lambda name: WIDE)
    camera = replace(toy_camera(), actions=tuple(f"place_{i}" for i in range(ACTIONS)))
    monkeypatch.setattr("remdm.stages.film.load_camera", lambda name: camera)
    write(Path("expert").absolute(), {"params": random_params("ppo", 8, OBS, ACTIONS)})
    assert run(mode, planner, "expert") == 0, capsys.readouterr().err
    record = json.loads(Path("out", mode, "run.json").read_text())
    assert record["config"]["seed"] == 0
    if mode in ("ablations", "online"):
        left = Path("out", mode, "checkpoint")
        assert read_metadata(left)["network"] == public_network(planner).network.model_dump()
    if mode == "online":  # which has started from its weights, and hardly changed them
        wanted = read_public(planner).params()
        found = checkpoint.restore(left, "params", wanted)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-7), found, wanted)
    if mode == "inference":
        played = json.loads(Path("out", mode, "summary.json").read_text())
        assert (played["policy"], played["trained_frames"]) == ("planner", 1840)


# --- the pipeline ---


def demo(planners, **keys):
    scales = read_mapping(WORKFLOW)["scales"]
    scales["demo"] |= {"planners": planners, "ablations": [], **keys}
    return Plan.load(WORKFLOW, {"scales": scales})


OFFLINE = {"method": "offline", "preset": "demo"}


def test_a_planner_from_elsewhere_is_played_studied_and_fine_tuned_as_ours_are(planner):
    suite = {"planner": "planner_theirs", "preset": "ablations_demo", "arms": ["lora"]}
    theirs = {"checkpoint": f"{planner}/", "label": "theirs"}
    plan = demo([OFFLINE, theirs], ablations=[suite], sweep=True, imitation=True)
    for stage, name in (
        ("inference", "planner_theirs"), ("film", "planner_theirs"), ("sweep", "planner_theirs"),
        ("imitation", "planner_theirs"), ("ablations", "lora"),
    ):  # fmt: skip
        job = Job(CLASSIC, stage, name, 0)
        found = plan.dependencies(job)
        assert found["checkpoint_path"].checkpoint == str(planner)
        assert found.get("ppo_checkpoint_path") == (
            Job(CLASSIC, "ppo", "ppo", 0) if stage in ("sweep", "imitation", "film") else None
        )
        assert getattr(plan.configs[job], "policy", "planner") == "planner"
    assert [job.name for job in plan.catalogue.of("offline", "online")] == ["demo"]
    # The jobs of the others are where they would be, and as they would be.
    alone = {str(job): plan.digest(job) for job in demo([OFFLINE], sweep=True, imitation=True).jobs}
    assert alone.items() <= {str(job): plan.digest(job) for job in plan.jobs}.items()


def test_its_record_says_how_it_plays_unless_the_scale_does(planner):
    edit(planner, TEMPERATURE=0.25, ETA=0.75)

    def sampler(plan):
        return plan.configs[Job(CLASSIC, "inference", "planner", 0)].sampler

    mine = sampler(demo([{"checkpoint": str(planner)}]))
    assert (mine.temperature, mine.eta) == (0.25, 0.75)
    mine = sampler(demo([{"checkpoint": str(planner)}], playing={"temperature": 0.5}))
    assert (mine.temperature, mine.eta) == (0.5, 0.75)


def test_digests_follow_its_content_and_the_record_above_a_step(planner):
    def take(path):
        plan = demo([{"checkpoint": str(path)}])
        return plan.digest(Job(CLASSIC, "inference", "planner", 0))

    before = {path: take(path) for path in (planner, planner / STEP, planner / STEP / "default")}
    edit(planner, DROPOUT_RATE=0.2)
    assert all(take(path) != digest for path, digest in before.items())
    assert content_digest("key", str(planner)) == content_digest("key", str(shutil.copytree(planner, "copy")))


def test_what_cannot_be_played_is_named_before_the_first_job(planner):
    def refused(*planners, **keys):
        with pytest.raises(UserError) as raised:
            demo(list(planners), **keys)
        return str(raised.value)

    mine = {"checkpoint": str(planner)}
    key = "scales.demo.planners.0"
    edit(planner, ENV_NAME=FULL)
    assert f"{key}.checkpoint = {planner}: its ENV_NAME is {FULL}, but {CLASSIC} is needed" in refused(mine)
    edit(planner, ENV_NAME=CLASSIC, PLAN_HORIZON="long")
    record = planner.absolute() / "resume_metadata.json"
    assert f"{key}.checkpoint: {record}: plan_horizon = 'long': should be" in refused(mine)
    (planner / "resume_metadata.json").unlink()
    assert f"{key}.checkpoint: checkpoint {planner}/{STEP}/default: has no resume_metadata.json" in refused(
        mine
    )
    assert f"{key}.checkpoint = nowhere: no such folder" in refused({"checkpoint": "nowhere"})
    assert f"{key}: must be {{method: offline or online, preset: NAME}}, or {{checkpoint: PATH}}" in refused(
        {}
    )
    assert f"{key}: must be" in refused({**OFFLINE, **mine})
    assert f"{key}: preset is missing" in refused({"method": "offline"})
    assert f"{key}: label and env are only for a checkpoint" in refused({**OFFLINE, "label": "a"})
    assert f"{key}.checkpoint = {planner}: plays one game, but envs names" in refused(
        mine, envs=[CLASSIC, FULL]
    )


def test_a_suite_that_does_not_fit_its_plans_is_refused(planner):
    edit(planner, PLAN_HORIZON=7)
    suite = {"planner": "planner", "preset": "ablations_demo", "arms": ["lora"]}
    with pytest.raises(UserError, match="must be a multiple of the planner's plan_horizon = 7"):
        demo([{"checkpoint": str(planner)}], ablations=[suite])


def test_a_planner_of_ours_from_elsewhere_and_one_that_is_fetched(tmp_path):
    record = {"kind": "planner", "env_name": CLASSIC, "network": {"plan_horizon": 8}}
    (tmp_path / "metadata.json").write_text(json.dumps(record))
    plan = demo([{"checkpoint": str(tmp_path)}, {"checkpoint": "wandb:us/craftax/planner:v0", "label": "b"}])
    found = {
        name: plan.dependencies(Job(CLASSIC, "inference", name, 0))["checkpoint_path"].checkpoint
        for name in ("planner", "planner_b")
    }
    assert found == {
        "planner": str(tmp_path), "planner_b": "results/planners/us-craftax-planner-v0/checkpoint"
    }  # fmt: skip
    (tmp_path / "metadata.json").write_text(json.dumps(record | {"kind": "expert"}))
    with pytest.raises(UserError, match="its kind is expert, but planner is needed"):
        demo([{"checkpoint": str(tmp_path)}])


@pytest.mark.slow
def test_snakemake_plans_with_a_planner_from_elsewhere(planner, tmp_path):
    def dry_run(checkpoint):
        config = {"scales": read_mapping(WORKFLOW)["scales"]}
        config["scales"]["demo"] |= {"planners": [{"checkpoint": checkpoint}], "ablations": [], "sweep": True}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        command = ["-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", str(REPOSITORY / "Snakefile")]
        command += ["--directory", str(tmp_path), "--configfile", str(tmp_path / "mine.yaml")]
        return subprocess.run([sys.executable, *command], capture_output=True, text=True)

    for checkpoint_path in ("policies", "wandb:us/craftax/planner:v0"):
        done = dry_run(checkpoint_path)
        assert done.returncode == 0, done.stderr
    done = dry_run("nowhere")
    assert done.returncode == 2
    assert "scales.demo.planners.0.checkpoint = nowhere: no such folder" in done.stderr
