"""Every key has an effect that can be observed, is documented, and has a type, a range and a description.

A training's observables are its traced programs as text, constants included, and its resolved
plan; keys of other kinds are observed in what they change: files, a start, a tracker, a setting.
"""

import json
import re
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr

import remdm.envs.batch
from remdm.ablations.arm import load_arm
from remdm.ablations.finetuning import make_finetuning
from remdm.ablations.problem import make_problem
from remdm.base.errors import UserError
from remdm.config.layers import ALL_KEYS, Layer, base_layers, build, configs_folder
from remdm.config.reference import all_keys, json_schema, reference_page
from remdm.config.runtime import RuntimeConfig, TrainingRuntimeConfig
from remdm.config.stages import STAGES
from remdm.envs.batch import make_batch_env, make_paired_env
from remdm.evaluation.film import stage_env
from remdm.experts.network import ActorCriticRNN
from remdm.experts.network import init_params as init_expert
from remdm.experts.ppo import make_ppo
from remdm.loading.checkpoint import describe
from remdm.loading.expert import load_expert
from remdm.loading.policy import load_policy, played_network
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.play.rollout import rollout, start
from remdm.stages import session
from remdm.stages.ablations import run_ablations
from remdm.stages.budget import memory_terms, resolved_plan
from remdm.stages.collect import run_collect
from remdm.stages.film import run_film
from remdm.stages.imitation import run_imitation
from remdm.stages.inference import run_inference
from remdm.stages.offline import run_offline
from remdm.stages.online import run_online
from remdm.stages.sweep import run_sweep
from remdm.stages.training import resumed, run_training
from remdm.training import checkpoint
from remdm.training.algorithm import repeated
from remdm.training.interruption import deadline
from remdm.training.run import Run
from tests.conftest import REPOSITORY
from tests.test_planners import TOY_KEYS
from tests.test_training import counting
from tests.tiers import slow_except
from tests.toy import GAME, toy_expert

KEYS = {
    **TOY_KEYS, "layer_size": 8, "ppo_num_envs": 4, "ppo_num_steps": 8, "ppo_num_minibatches": 2,
    "ppo_total_timesteps": 320, "collect_num_steps": 640, "collect_num_envs": 8, "eval_steps": 64,
    "eval_num_envs": 8, "diffusion_steps_eval": 8, "val_diffusion_steps": 8, "inpaint_history": False,
    "replan_every": 2, "val_steps": 8, "use_wandb": False, "progress": False, "dropout_rate": 0.1,
    "lr_warmup_steps": 2, "ablation_iterations": 4, "ablation_batch_size": 32, "ablation_diffusion_steps": 4,
    "ablation_eval_every": 2, "ablation_eval_replan": 2, "ablation_cka_batch": 8, "ablation_t_bins": 2,
    "ablation_replay_size": 64, "ablation_fisher_batches": 2, "ablation_reward_model_steps": 2,
}  # fmt: skip

# Another value of every key of the stages that decides a result.
OTHER = {
    "seed": 1, "num_repeats": 2, "env_name": "Craftax-Symbolic-v1", "use_optimistic_resets": True,
    "optimistic_reset_ratio": 2, "plan_horizon": 8, "diffusion_schedule": "linear", "d_model": 16,
    "n_heads": 4, "n_layers": 2, "d_ff": 16, "obs_encoder_layers": 2, "obs_encoder_width": 16,
    "time_scale": 1.0,
    "past_observations": 1, "past_actions": 2, "past_progress": True,
    "dropout_rate": 0.2, "compute_dtype": "bfloat16", "remask_strategy": "cap", "eta": 0.4,
    "use_loop": False, "t_on": 0.8, "t_off": 0.1, "temperature": 0.7, "top_p": 0.9,
    "diffusion_steps": 6, "train_sigma": 0.1, "label_smoothing": 0.1, "num_envs": 4, "num_steps": 32,
    "num_minibatches": 2, "microbatch_size": 4, "update_epochs": 2, "soft_labels": True, "prefix_share": 0.5,
    "optimizer": "muon", "lr": 1e-3, "lr_warmup_frames": 256,
    "lr_warmup_steps": 3,
    "weight_decay": 0.1, "max_grad_norm": 0.5, "val_interval_frames": 256, "val_interval": 3,
    "val_diffusion_steps": 10, "val_replan_every": 4, "val_steps": 16, "val_num_envs": 4,
    "offline_total_timesteps": 1280, "offline_num_updates": 3, "collect_temperature": 0.5,
    "return_weight_cap": 2.0, "online_total_timesteps": 1280, "online_num_updates": 3,
    "dagger_beta_init": 0.9, "dagger_beta_final": 0.3, "dagger_beta_decay": 0.8,
    "dagger_buffer_cycles": 2.0, "dagger_buffer_max": 300, "dagger_train_passes": 2,
    "dagger_replan_every": 2, "layer_size": 16, "ppo_total_timesteps": 640, "ppo_num_envs": 8,
    "ppo_num_steps": 16, "ppo_lr": 1e-3, "ppo_update_epochs": 2, "ppo_num_minibatches": 4,
    "ppo_gamma": 0.9, "ppo_gae_lambda": 0.7, "ppo_clip_eps": 0.1, "ppo_ent_coef": 0.1,
    "ppo_vf_coef": 0.2, "ppo_max_grad_norm": 0.3, "collect_num_steps": 1280, "collect_num_envs": 4,
    "eval_steps": 128, "eval_num_envs": 4, "eval_protocol": "first_episode",
    "film_steps": 3, "film_num_envs": 2,
    "diffusion_steps_eval": 10, "replan_every": 4,
    "inpaint_history": True, "policy": "random", "expert_temperature": 0.5, "ppo_model_type": "ppo",
    "ppo_exploration": "icm",
    "rnd_layer_size": 16, "rnd_output_size": 16, "rnd_lr": 1e-3, "rnd_update_epochs": 2,
    "rnd_loss_coef": 0.1, "rnd_reward_coef": 0.5, "rnd_gae_coef": 0.1, "rnd_episodic": True,
    "icm_layer_size": 16, "icm_latent_size": 16, "icm_lr": 1e-3, "icm_update_epochs": 2,
    "icm_forward_coef": 0.5, "icm_inverse_coef": 0.5, "icm_reward_coef": 0.5, "e3b_lambda": 0.2,
    "e3b_reward_coef": 0.5, "arm": "kl_penalty", "ablation_iterations": 6, "ablation_batch_size": 64,
    "ablation_diffusion_steps": 5, "ablation_ema_decay": 0.9, "ablation_eval_every": 3,
    "ablation_eval_replan": 4, "ablation_diagnostics_every": None, "ablation_cka_every": 3,
    "ablation_cka_batch": 16, "ablation_t_bins": 3, "ablation_win_threshold": 1.5,
    "ablation_replay_size": 128, "ablation_fisher_batches": 3, "ablation_reward_model_steps": 3,
    "sweep_strategies": ["cap"], "sweep_steps": [4], "sweep_etas": [0.5],
    "sweep_temperatures": [1.0], "sweep_windows": 8, "sweep_plans": 3, "sweep_play_steps": 8,
    "imitation_steps": 16,
}  # fmt: skip
# What must hold for a key to count at all.
GIVEN = {
    "optimistic_reset_ratio": {"use_optimistic_resets": True},
    "offline_num_updates": {"offline_total_timesteps": None, "offline_num_updates": 5},
    "online_num_updates": {"online_total_timesteps": None},
    "dagger_beta_decay": {"dagger_beta_final": None},
    "dagger_beta_init": {"dagger_beta_final": None},
    "expert_temperature": {"policy": "expert"},
    "ablation_replay_size": {"arm": "mixed_replay"},
    "ablation_fisher_batches": {"arm": "ewc"},
    "ablation_reward_model_steps": {"arm": "reward_model"},
    **{key: {"ppo_model_type": "ppo_rnd"} for key in OTHER if key.startswith("rnd_")},
    **{key: {"ppo_exploration": "icm"} for key in OTHER if key.startswith("icm_")},
    **{key: {"ppo_exploration": "e3b"} for key in OTHER if key.startswith("e3b_")},
}
PATHS = {key for stage in STAGES.values() for key in stage.model.path_keys()}
# Keys with tests of their own below.
OF_THE_EXPERT = {"collect_temperature"}  # of offline BC's; collecting has it too
STARTS = {"resume_step", "dagger_expert_deterministic"}
RUNTIME = set(TrainingRuntimeConfig.model_fields)
TRAINING = {
    "ppo": make_ppo,
    "offline": make_offline,
    "online": make_online,
    "smoke": make_online,
    "ablations": make_finetuning,
}


@pytest.fixture(autouse=True)
def toy_game(monkeypatch):
    """The toy in place of Craftax; a second game is the first with other facts."""
    games = {"Craftax-Classic-Symbolic-v1": GAME, "Craftax-Symbolic-v1": _wider(GAME)}
    monkeypatch.setattr("remdm.envs.batch.load_game", games.__getitem__)


def _wider(game):
    from dataclasses import replace

    class Wider(type(game.env)):
        def _obs(self, state):
            return jax.numpy.append(super()._obs(state), 0.0)

    return replace(game, env=Wider(), obs_dim=game.obs_dim + 1)


def config_of(stage, **keys):
    return build(STAGES[stage].model, [*base_layers(None), Layer("test", {**KEYS, **keys})])


def algorithm_of(stage, config, *envs):
    """The algorithm of a stage, in these games: those that it trains in and, if it has any, validates in."""
    if stage == "ppo":
        return make_ppo(config, *envs)
    if stage != "ablations":
        return TRAINING[stage](config, *envs, toy_expert())
    network, game = config_of("offline").denoiser, envs[0].game
    denoiser = make_denoiser(network, game.num_actions)
    params = init_params(denoiser, jax.random.PRNGKey(7), game.obs_dim)
    return make_finetuning(make_problem(config, network, envs[0]), envs[1], load_arm(config.arm), params)


@cache
def observed(stage, keys):
    """What can be seen of a training, the cheap first: budgets, its start, its programs."""
    config = config_of(stage, **dict(keys))
    names = {"ppo": ["ppo_num_envs"], "ablations": ["num_envs", "eval_num_envs"]}
    numbers = [config.flat()[name] for name in names.get(stage, ["num_envs", "val_num_envs"])]
    envs = [make_batch_env(config.env, number, getattr(config, "denoiser", None)) for number in numbers]
    env, algorithm = envs[0], algorithm_of(stage, config, *envs)
    algorithm = repeated(algorithm, config.num_repeats)
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    params = jax.eval_shape(algorithm.params, state)
    names = ("num_updates", "frames_per_update", "val_every", "repeats")
    budgets = {name: getattr(algorithm, name) for name in names}
    plan = resolved_plan(config, algorithm, state, memory_terms(config, state, env.game))
    key = Run(stage, Path(), Path(), "", None).key(config.seed)
    seen = (
        lambda: (budgets, plan, key.tolist(), [(x.shape, x.dtype) for x in jax.tree.leaves(state)]),
        lambda: _program(lambda s: algorithm.update(s), state),
        lambda: _program(algorithm.init, key),
        lambda: algorithm.validate and _program(algorithm.validate, key, params),
    )
    return [cache(look) for look in seen]


def _program(function, *arguments):
    """A program as text; where functions lie in memory is no part of it."""
    traced = jax.make_jaxpr(function)(*arguments)
    constants = [np.asarray(x).tolist() for x in _constants(traced)]
    return re.sub(r"0x[0-9a-f]+", "", str(traced)), constants


def _constants(closed):
    """Arrays that a program and those within it have as constants, whose text has their shapes alone."""
    yield from closed.consts
    for equation in closed.jaxpr.eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, ClosedJaxpr):
                    yield from _constants(inner)


def differ(stage, base, other):
    """Whether anything that can be seen differs; looks no further than it must."""
    pairs = zip(observed(stage, base), observed(stage, other), strict=True)
    return any(one() != two() for one, two in pairs)


def test_every_key_is_in_one_of_these_tests():
    assert set(OTHER) | PATHS | STARTS | RUNTIME == ALL_KEYS
    assert not set(OTHER) & (PATHS | STARTS | RUNTIME)


FIRST_STAGE = {
    key: next(stage for stage in TRAINING if key in STAGES[stage].model.owners())
    for key in set(OTHER) - OF_THE_EXPERT
    if any(key in STAGES[stage].model.owners() for stage in TRAINING)
}


@pytest.mark.parametrize(
    "key", slow_except(sorted(FIRST_STAGE), ["dagger_beta_decay", "eta", "lr", "ppo_gamma"])
)
def test_a_training_key_changes_its_plan_or_its_programs(key):
    given = GIVEN.get(key, {})
    base = tuple(given.items())
    assert config_of(FIRST_STAGE[key], **given).flat()[key] != OTHER[key]
    assert differ(FIRST_STAGE[key], base, (*base, (key, OTHER[key])))


def test_the_comparison_sees_no_difference_where_there_is_none():
    """Two configurations that are equal give equal programs: else the test above could not fail."""
    assert not differ("online", (), (("lr", KEYS["lr"]),))
    # A legacy key that its primary key overrides is such a case.
    assert not differ("online", (), (("online_num_updates", 3),))


@pytest.mark.parametrize("given", [{}, {"ppo_model_type": "ppo_rnd"}, {"ppo_exploration": "e3b"}])
def test_keys_of_other_explorations_are_of_no_account(given):
    """They make nothing stale either: what is recorded leaves them out."""
    unused = config_of("ppo", **given).unused()
    others = {key: OTHER[key] for key in unused}
    assert not differ("ppo", tuple(given.items()), (*given.items(), *others.items()))
    assert config_of("ppo", **given, **others).recorded() == config_of("ppo", **given).recorded()
    keys = STAGES["ppo"].model.owners()
    used = {key for key in keys if key.startswith(("rnd_", "icm_", "e3b_"))} - unused
    assert bool(used) == bool(given)


# --- inference and collecting: what they write ---


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """An untrained expert and an untrained planner of each of the two games."""
    folder = tmp_path_factory.mktemp("checkpoints")
    key = jax.random.PRNGKey(7)
    for env_name, game in (("Craftax-Classic-Symbolic-v1", GAME), ("Craftax-Symbolic-v1", _wider(GAME))):
        config = config_of("online")
        params = init_params(make_denoiser(config.denoiser, game.num_actions), key, game.obs_dim)
        params = jax.tree.map(lambda x: 3 * x, params)  # plans that differ from state to state
        metadata = describe("planner", env_name, config.denoiser, 1, 1)
        checkpoint.save(folder / f"planner-{env_name}", {"params": params}, metadata)
        expert = config_of("ppo").network
        params = init_expert(ActorCriticRNN(game.num_actions, expert.layer_size), key, game.obs_dim)
        params = jax.tree.map(lambda x: 3 * x, params)
        checkpoint.save(
            folder / f"expert-{env_name}", {"params": params}, describe("expert", env_name, expert, 1, 1)
        )
    return folder


@pytest.fixture(scope="module")
def before():
    """What is played without the key in question, by stage and what must hold."""
    return {}


def playing(make_run, checkpoints, stage, **keys):
    """What an evaluation or a collection plays: its program, its key, and for how long."""
    env_name = keys.get("env_name", "Craftax-Classic-Symbolic-v1")
    config = config_of(stage, **keys)
    if stage in ("inference", "film"):
        if stage == "inference":
            env = make_paired_env(config.env, config.eval_num_envs)
            steps = config.eval_steps, config.eval_protocol  # tests/test_evaluation.py shows what they do
        else:
            env = stage_env(remdm.envs.batch.load_game(env_name), config.film_num_envs)
            steps = config.film_steps
        path = str(checkpoints / f"{config.policy}-{env_name}")
        config = config.model_copy(update={"checkpoint_path": path})
        policy = load_policy(config, env.game, played_network(config))
    else:
        env = make_batch_env(config.env, config.collect_num_envs)
        path = str(checkpoints / f"expert-{env_name}")
        temperature = config.collect_temperature
        policy = load_expert("ppo_checkpoint_path", path, env_name, env.game, temperature)
        steps = config.num_iters
    key = make_run(stage).key(config.seed)
    state = jax.eval_shape(lambda key: start(key, env, policy.init(env.num_envs)), key)
    program = _program(lambda key, policy, state: rollout(key, env, policy, state, 2), key, policy, state)
    return program, key.tolist(), steps


@pytest.mark.parametrize(
    ("stage", "key"),
    [
        (stage, key)
        for stage in ("inference", "film", "collect")
        for key in sorted(set(OTHER) & set(STAGES[stage].model.owners()))
    ],
)
def test_a_playing_key_changes_what_is_played(stage, key, make_run, checkpoints, before):
    given = GIVEN.get(key, {})
    known = stage, *given.items()
    if known not in before:
        before[known] = playing(make_run, checkpoints, stage, **given)
        assert playing(make_run, checkpoints, stage, **given) == before[known]
    assert playing(make_run, checkpoints, stage, **given, **{key: OTHER[key]}) != before[known]


def test_only_a_planner_samples(make_run, checkpoints):
    unused = config_of("inference", policy="random").unused()
    others = {key: OTHER[key] for key in unused}
    one = playing(make_run, checkpoints, "inference", policy="random")
    assert playing(make_run, checkpoints, "inference", policy="random", **others) == one
    assert config_of("inference").unused() == {"expert_temperature"}


def interrupt(*arguments):
    raise KeyboardInterrupt


def collected(make_run, checkpoints, name, **keys):
    expert = str(checkpoints / "expert-Craftax-Classic-Symbolic-v1")
    config = config_of("collect", ppo_checkpoint_path=expert, **keys)
    with make_run("collect", name) as run:
        run_collect(config, run)
    with np.load(config.offline_data_path or run.folder / "trajectories.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.mark.slow
def test_steps_are_played_as_many_as_asked(make_run, checkpoints):
    """By both stages, from configuration to file."""
    for frames in (640, 720):
        arrays = collected(make_run, checkpoints, f"c{frames}", collect_num_steps=frames)
        assert arrays["actions"].shape == (8, frames // 8)
    planner = str(checkpoints / "planner-Craftax-Classic-Symbolic-v1")
    for steps in (64, 100):
        run = make_run("inference", f"e{steps}")
        run_inference(config_of("inference", checkpoint_path=planner, eval_steps=steps), run)
        summary = json.loads((run.folder / "summary.json").read_text())
        assert (summary["frames"], summary["trained_frames"]) == (8 * steps, 1)


def test_trajectories_go_where_offline_data_path_says(make_run, checkpoints, tmp_path, monkeypatch):
    path = tmp_path / "data" / "mine.npz"
    path.parent.mkdir()
    path.write_text("of an earlier run")
    with monkeypatch.context() as patch:
        patch.setattr("remdm.stages.collect.compile_player", interrupt)
        with pytest.raises(KeyboardInterrupt):
            collected(make_run, checkpoints, "interrupted", offline_data_path=str(path))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"offline_data_path = .*mine.npz: cannot be written"):
        collected(make_run, checkpoints, "no", offline_data_path=str(tmp_path / "file" / "mine.npz"))
    assert path.read_text() == "of an earlier run"
    collected(make_run, checkpoints, "there", offline_data_path=str(path))
    assert (tmp_path / "data" / "mine.npz").exists()
    assert not (tmp_path / "there" / "trajectories.npz").exists()


# --- paths and starts ---


@pytest.mark.parametrize(
    ("key", "stage", "run_stage"),
    [
        ("ppo_checkpoint_path", "collect", run_collect),
        ("ppo_checkpoint_path", "offline", run_offline),
        ("ppo_checkpoint_path", "online", run_online),
        ("checkpoint_path", "inference", run_inference),
        ("checkpoint_path", "ablations", run_ablations),
        ("checkpoint_path", "film", run_film),
        ("checkpoint_path", "sweep", run_sweep),
        ("checkpoint_path", "imitation", run_imitation),
    ],
)
def test_the_named_checkpoint_is_read(key, stage, run_stage, make_run):
    config = config_of(stage, **{key: "/nowhere"})
    with pytest.raises(UserError, match=f"{key}: checkpoint /nowhere: no such folder"):
        run_stage(config, make_run(stage))


def test_a_film_asks_the_named_expert_whoever_plays(make_run):
    config = config_of("film", policy="random", ppo_checkpoint_path="/nowhere")
    assert config.inputs() == {"ppo_checkpoint_path": "/nowhere"}
    with pytest.raises(UserError, match="ppo_checkpoint_path: checkpoint /nowhere: no such folder"):
        run_film(config, make_run("film"))
    playing = config_of("film", policy="expert", checkpoint_path="/here")
    assert playing.asked_expert == ("checkpoint_path", "/here")
    assert config_of("film", checkpoint_path="/here").asked_expert is None


def test_resuming_starts_from_the_named_checkpoint_at_the_named_step(checkpoints, tmp_path):
    """Its metadata says the step and the W&B run; `resume_step` says another step."""

    def resumed_with(stage, **keys):
        config = config_of(stage, **keys)
        return resumed(config, config.resume)

    path = tmp_path / "finished"
    checkpoint.save(path, {"params": {"a": np.ones(1)}}, {"update_step": 4, "wandb_run_id": "abc"})
    for stage in ("ppo", "offline", "online"):
        assert resumed_with(stage) == (None, None)
        start, wandb_run_id = resumed_with(stage, resume_checkpoint_path=str(path))
        assert (start.checkpoint, start.update, start.whole, wandb_run_id) == (path, 4, False, "abc")
        start, _ = resumed_with(stage, resume_checkpoint_path=str(path), resume_step=2)
        assert start.update == 2
    (path / "metadata.json").unlink()
    with pytest.raises(UserError, match=r"resume_step = null: .* has no metadata"):
        resumed_with("ppo", resume_checkpoint_path=str(path))
    with pytest.raises(UserError, match=r"resume_step = 10: the budget is 10 updates; raise ppo_total"):
        config_of("ppo", resume_checkpoint_path=str(path), resume_step=10)
    checkpoint.save(path, {"params": {"a": np.ones(1)}}, {"update_step": 30})
    with pytest.raises(UserError, match=r"resume_step = 30: the budget is 30 updates; raise online_total"):
        resumed_with("online", resume_checkpoint_path=str(path))


def test_planners_start_where_and_hear_the_expert_as_they_are_told(checkpoints, make_run, monkeypatch):
    """What the stages hand on: the start, and how sure the expert is."""
    handed = []
    for stage in ("online", "offline"):
        monkeypatch.setattr(f"remdm.stages.{stage}.run_training", lambda *given: handed.append(given))
    temperatures = []

    def load_expert(key, path, env_name, game, temperature):
        temperatures.append(temperature)
        return toy_expert()

    for stage in ("online", "offline"):
        monkeypatch.setattr(f"remdm.stages.{stage}.load_expert", load_expert)
    planner = checkpoints / "planner-Craftax-Classic-Symbolic-v1"
    run_online(config_of("online"), make_run())
    run_online(config_of("online", offline_checkpoint_path=str(planner)), make_run())
    run_online(config_of("online", dagger_expert_deterministic=False), make_run())
    starts = [arguments[6] for arguments in handed]
    assert starts[0] is None
    assert (starts[1].checkpoint, starts[1].update, starts[1].whole) == (planner, 0, False)
    run_offline(config_of("offline", collect_temperature=0.3), make_run())
    assert temperatures == [0.0, 0.0, 1.0, 0.3]


# --- how a run is watched and saved ---


def runtime_of(**keys):
    return build(TrainingRuntimeConfig, [*base_layers(None), Layer("test", keys)])


def test_runtime_keys_set_what_they_name(tmp_path, monkeypatch):
    prepared = {}
    monkeypatch.setattr(jax.config, "update", prepared.__setitem__)
    session.prepare_jax(runtime_of(jit=True, compilation_cache_dir=str(tmp_path)))
    assert prepared["jax_disable_jit"] is False
    assert prepared["jax_compilation_cache_dir"] == str(tmp_path)
    prepared.clear()
    session.prepare_jax(runtime_of(jit=False, compilation_cache_dir=None))
    assert prepared["jax_disable_jit"] is True
    assert "jax_compilation_cache_dir" not in prepared
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    session.prepare_jax(runtime_of())
    assert prepared["jax_compilation_cache_dir"] == str(tmp_path / "mine" / "remdm")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    session.prepare_jax(runtime_of())
    assert prepared["jax_compilation_cache_dir"] == str(tmp_path / ".cache" / "remdm")


def test_progress_is_shown_or_not(make_run, monkeypatch, caplog):
    monkeypatch.setattr("remdm.training.progress.LINE_EVERY_SECONDS", 0.0)
    from remdm.training.loop import train

    with caplog.at_level("INFO", "remdm"):
        train(counting(), 0, make_run(name="quiet"))
        assert "frames/s" not in caplog.text
        train(counting(), 0, make_run(name="shown", progress=True))
    assert "frames/s" in caplog.text


def test_chunks_and_snapshots_are_as_asked(make_run, monkeypatch):
    from remdm.training import loop
    from remdm.training.snapshots import Snapshots

    monkeypatch.setattr(loop, "CHUNK_SECONDS", 1e9)
    saved = []
    monkeypatch.setattr(Snapshots, "save", lambda self, update, *_: saved.append(update))
    often = {"chunk_updates": 2, "checkpoint_every_minutes": 1e-9}
    for name, keys in (("a", {"chunk_updates": 1}), ("b", often)):
        run = make_run(name=name, **keys)
        loop.train(counting(val_every=100), 0, run)
        parts = sorted(int(part.stem) for part in (run.state / "metrics" / "r0").glob("*.parquet"))
        assert parts == ([1, 2, 3, 4, 5, 6, 7] if name == "a" else [1, 3, 5, 7])
    assert saved == [1, 3, 5, 7]


@pytest.mark.parametrize(
    ("keys", "items"),
    [
        ({}, {"params", "training", "buffer"}),
        ({"checkpoint_buffer": False}, {"params", "training"}),
        ({"save_policy": False}, None),
    ],
)
def test_the_checkpoint_has_what_is_asked_for(make_run, monkeypatch, keys, items):
    monkeypatch.setattr("remdm.stages.training.announce", lambda *arguments: None)
    config = config_of("online")
    with make_run(name="run", **keys) as run:
        run_training(counting(), config, GAME, "planner", config.denoiser, run)
    path = run.folder / "checkpoint"
    found = {p.name for p in path.iterdir() if p.is_dir()} if path.exists() else None
    assert found == items
    assert (run.folder / "run.json").exists()


def test_a_time_limit_is_the_deadline():
    assert deadline(runtime_of(time_limit_minutes=3), 10.0) == 190.0


def test_tracking_keys_reach_the_client(make_run, monkeypatch, tmp_path):
    class Recorder:
        def __init__(self, runtime, run_id, name, config):
            self.given = (runtime.wandb_project, runtime.wandb_entity, run_id)

        def log(self, rows):
            pass

        def close(self):
            pass

    monkeypatch.setattr("remdm.training.run.Tracker", Recorder)
    config = config_of("online")
    with make_run(name="none") as none:
        none.open(config)
        assert none.tracker is None
        assert none.watchers == []
    keys = {"use_wandb": True, "wandb_project": "p", "wandb_entity": "e"}
    with make_run(name="new", **keys) as new:
        new.open(config, "inherited")
        assert new.tracker.given == ("p", "e", "inherited")
    with make_run(name="asked", resume_wandb_run_id="mine", **keys) as asked:
        asked.open(config, "inherited")
        assert asked.tracker.given == ("p", "e", "mine")
    with make_run(name="fresh", **keys) as fresh:
        fresh.open(config)
    # An interrupted run goes on in its own W&B run.
    with make_run(name="fresh", **keys) as again:
        again.open(config, "inherited")
    assert again.wandb_run_id == fresh.wandb_run_id != "inherited"


def test_references_are_fetched_to_the_download_folder(monkeypatch, tmp_path, capsys):
    from remdm import cli

    asked = []

    def fetch(reference, folder):
        asked.append((reference, folder))
        return tmp_path / "x"

    monkeypatch.setattr("remdm.commands.configuration.fetch", fetch)
    reference = "wandb:a/b/c:v1"
    for extra in ([], ["--wandb_download_dir", "here"]):
        assert cli.main(["offline", "--ppo_checkpoint_path", reference, *extra]) == 2
    assert asked == [(reference, Path("artifacts")), (reference, Path("here"))]
    assert f"ppo_checkpoint_path = {tmp_path / 'x'}: no such folder" in capsys.readouterr().err


# --- the reference ---


def test_every_key_is_documented_and_the_page_and_the_schema_are_up_to_date():
    page = reference_page()
    assert set(all_keys()) == ALL_KEYS
    for key in all_keys().values():
        assert f"| `{key.name}` |" in page
        assert key.kind
        assert key.description
    assert (REPOSITORY / "docs" / "keys.md").read_text() == page, "remdm keys > docs/keys.md"
    schema = json.loads((configs_folder() / "schema.json").read_text())
    assert schema == json_schema()  # remdm keys --schema > configs/schema.json


def test_numbers_have_units_and_ranges_in_the_reference():
    keys = all_keys()
    assert (keys["lr"].kind, keys["lr"].unit) == ("number > 0", "")
    assert (keys["lr_warmup_frames"].kind, keys["lr_warmup_frames"].unit) == (
        "integer >= 0 or null",
        "frames",
    )
    assert keys["remask_strategy"].kind == "rescale or cap or conf or conf_softmax"
    assert keys["top_p"].kind == "number > 0 and <= 1"
    assert keys["val_interval"].unit == "updates"
    assert keys["save_policy"].modes == ("ppo", "offline", "online", "smoke", "ablations")
    assert STAGES["inference"].runtime is RuntimeConfig
