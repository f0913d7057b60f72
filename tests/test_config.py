"""Layers, number types, contradictions, and the one line that names what is wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remdm.base.errors import ConfigError
from remdm.base.reader import parse_value, read_mapping
from remdm.config.layers import (
    ALL_KEYS,
    Layer,
    base_layers,
    build,
    configs_folder,
    overridden,
    preset_path,
)
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.ppo import PPOConfig
from remdm.config.scaling import resolve_scaled_hyperparams
from remdm.config.stages import STAGES
from remdm.config.workflow import load_workflow_config

PRESETS = sorted(path.stem for path in configs_folder().glob("*.yaml") if path.stem != "defaults")


def offline(**keys):
    return build(OfflineConfig, [*base_layers(None), Layer("here", keys)])


def online(**keys):
    return build(OnlineConfig, [*base_layers(None), Layer("here", keys)])


def test_every_default_stands_once_and_every_key_has_one():
    assert set(read_mapping(configs_folder() / "defaults.yaml")) == ALL_KEYS
    for model in [stage.model for stage in STAGES.values()]:
        fields = [owner.model_fields[key] for key, owner in model.owners().items()]
        assert all(field.is_required() for field in fields)
        assert all(field.description for field in fields)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stage", STAGES)
def test_every_preset_builds_every_stage(preset, stage):
    build(STAGES[stage].model, base_layers(preset))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_hold_only_differences(preset):
    defaults = read_mapping(configs_folder() / "defaults.yaml")
    restated = [key for key, value in read_mapping(preset_path(preset)).items() if defaults[key] == value]
    assert restated == []


@pytest.mark.parametrize(
    ("preset", "resolved", "beta_decay"),
    [
        ("final_classic_ucl", (1_525, 1_600, 125_000), 0.9993005),
        ("final_classic_qmul", (8_138, 8_512, 23_438), 0.9998689),
        ("final_craftax_ucl", (1_743, 1_792, 43_750), 0.385 ** (1 / 1_743)),
        ("final_craftax_qmul", (12_207, 12_800, 6_250), 0.385 ** (1 / 12_207)),
    ],
)
def test_published_recipes_resolve_to_the_published_numbers(preset, resolved, beta_decay):
    """Updates, gradient steps of warm-up, windows of DAgger's buffer."""
    config = build(OnlineConfig, base_layers(preset))
    assert (config.num_updates, config.warmup_grad_steps, config.buffer_size) == resolved
    assert config.beta_decay == pytest.approx(beta_decay, abs=1e-7)


@pytest.mark.parametrize("published", [name for name in PRESETS if f"{name}_best" in PRESETS])
def test_the_best_presets_say_what_they_change(published):
    """Of a published recipe only what comparisons at demo size changed, for all recipes alike."""
    remembering = {"past_observations": 5, "past_actions": 8, "past_progress": True}  # for the expert does
    before, best, demo = (
        read_mapping(preset_path(name)) for name in (published, f"{published}_best", "demo")
    )
    changed = {key: best[key] for key in best if best[key] != before.get(key)}
    assert changed.keys() == {
        "soft_labels", "return_weight_cap", "dagger_expert_deterministic", "optimizer", "temperature",
        "inpaint_history", *remembering,
    }  # fmt: skip
    assert changed == {key: demo[key] for key in changed.keys() - remembering.keys()} | remembering
    assert before.keys() - best.keys() <= {"temperature"}


@settings(max_examples=40)
@given(log_envs=st.integers(3, 9))
def test_budgets_in_frames_mean_the_same_at_any_number_of_environments(log_envs):
    keys = {
        "num_envs": 2**log_envs,
        "num_steps": 32,
        "online_total_timesteps": 2**20,
        "lr_warmup_frames": 2**17,
        "dagger_beta_final": 0.3,
        "dagger_buffer_cycles": 3.5,
        "val_interval_frames": 2**17,
    }
    config = online(**keys)
    per_update = config.frames_per_update
    assert config.num_updates * per_update == 2**20
    assert config.warmup_grad_steps / config.grad_steps_per_update * per_update == 2**17
    assert config.dagger_beta_init * config.beta_decay**config.num_updates == pytest.approx(0.3)
    # No more than all windows: at the default plan_horizon of 32, one for each 32 frames.
    assert config.buffer_size == min(3.5 * per_update, 2**20 // 32)
    assert config.val_every * per_update == 2**17


@settings(max_examples=60)
@given(
    envs=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    frames=st.integers(10**5, 10**9),
    share=st.floats(0.0, 0.9),
    final=st.floats(0.01, 1.0),
    cycles=st.floats(1.0, 50.0),
)
def test_the_same_experiment_at_any_number_of_environments(envs, frames, share, final, cycles):
    """Up to rounding to whole updates: frames, warm-up, validation, final beta, history in cycles."""
    keys = {
        "num_steps": 32, "num_minibatches": 1, "online_total_timesteps": frames,
        "lr_warmup_frames": int(share * frames), "dagger_beta_final": final,
        "dagger_buffer_cycles": cycles, "val_interval_frames": max(1, frames // 7),
    }  # fmt: skip
    for num_envs in envs:
        per_update = num_envs * 32
        if int(share * frames) // per_update >= max(1, frames // per_update):
            continue  # rounding leaves nothing after the warm-up, which is refused
        config = online(num_envs=num_envs, **keys)
        # Every legacy key holds what counts.
        assert 0 <= frames - config.online_num_updates * per_update < per_update or config.num_updates == 1
        warmup = config.lr_warmup_steps / config.grad_steps_per_update * per_update
        assert 0 <= keys["lr_warmup_frames"] - warmup < per_update
        reached = config.dagger_beta_init * config.dagger_beta_decay**config.online_num_updates
        assert reached == pytest.approx(final, rel=1e-6)
        collected = config.num_updates * config.windows_per_update
        assert abs(config.dagger_buffer_max - min(cycles * per_update, collected)) <= 0.5
        assert config.validation.val_interval == max(1, keys["val_interval_frames"] // per_update)
        assert resolve_scaled_hyperparams(config) == config


def test_a_buffer_holds_no_more_than_the_run_collects():
    """Three updates of 8 x (40 - 32 + 1) windows; a smaller buffer stays as it is."""
    keys = {"num_envs": 8, "num_steps": 40, "dagger_replan_every": 20, "online_total_timesteps": 3 * 320}
    assert online(**keys).buffer_size == online(**keys, dagger_buffer_cycles=1e6).buffer_size == 3 * 72
    assert online(**keys, dagger_buffer_max=215).buffer_size == 215
    assert online(**keys, dagger_buffer_cycles=0.6).buffer_size == 192


def test_resolving_is_pure_and_changes_no_primary_key():
    raw = OfflineConfig(**{**offline(seed=0).flat(), "offline_num_updates": 7, "val_interval": 3})
    resolved = resolve_scaled_hyperparams(raw)
    assert raw.offline_num_updates == 7
    assert resolved.offline_num_updates == 1525
    assert resolved.validation.val_interval == 3
    assert resolved.offline_total_timesteps == raw.offline_total_timesteps


def test_an_overridden_legacy_key_makes_nothing_stale_and_is_pointed_out():
    one, two = (offline(seed=0, offline_num_updates=n) for n in (7, 8))
    assert one == two
    layers = [*base_layers(None), Layer("mine.yaml", {"offline_num_updates": 7, "val_interval": 3})]
    assert overridden(OfflineConfig, layers) == [
        "mine.yaml: offline_num_updates = 7 has no effect: offline_total_timesteps = 100000000.0 "
        f"({layers[0].origin}) counts"
    ]
    given = Layer("command line", {"offline_total_timesteps": None, "val_interval_frames": 10**6})
    assert overridden(OfflineConfig, [*layers, given]) == [
        "mine.yaml: val_interval = 3 has no effect: val_interval_frames = 1000000 (command line) counts"
    ]
    assert overridden(PPOConfig, [*layers, given]) == []
    assert overridden(OfflineConfig, base_layers("final_classic_ucl")) == []


def test_primary_keys_win_and_legacy_keys_serve_without_them():
    assert offline(offline_total_timesteps=None, offline_num_updates=7).num_updates == 7
    assert offline(offline_total_timesteps=1024 * 64 * 3, offline_num_updates=7).num_updates == 3
    assert offline(offline_total_timesteps=1).num_updates == 1
    assert offline(val_interval=9).val_every == 9
    assert offline(lr_warmup_steps=11).warmup_grad_steps == 11
    assert online(dagger_beta_decay=0.5).beta_decay == 0.5
    assert online(dagger_buffer_max=50_000).buffer_size == 50_000
    assert online(dagger_train_passes=3).grad_steps_per_update == 3 * online().grad_steps_per_update
    assert online(dagger_replan_every=8).replan_every == 8
    assert online().replan_every == 32


def test_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text("a: 1e8\nb: 3e-4\nc: -2.5E+3\nd: 1_000\ne: 1.0e+8\nf: '1e8'\ng: 1.2.3\nh: e5\n")
    assert read_mapping(path) == {
        "a": 1e8, "b": 3e-4, "c": -2500.0, "d": 1000, "e": 1e8, "f": "1e8", "g": "1.2.3", "h": "e5",
    }  # fmt: skip
    assert offline(num_envs=1e3, num_minibatches=1).num_envs == 1000
    assert parse_value("null") is None
    for text in ("[1", "[" * 2000, "2024-13-45", "9" * 5000, "!!int x", "&a [*a]"):
        assert parse_value(text) == text


BAD_VALUES = [
    ({"lr": "fast"}, "here: lr = 'fast'"),
    ({"lr": -1.0}, "here: lr = -1.0"),
    ({"lr": float("nan")}, "here: lr = nan"),
    ({"num_envs": 1.5}, "here: num_envs = 1.5"),
    ({"num_envs": True}, "here: num_envs = True"),
    ({"num_envs": "8"}, "here: num_envs = '8'"),
    ({"use_loop": 1}, "here: use_loop = 1"),
    ({"remask_strategy": "confidence"}, "here: remask_strategy = 'confidence'"),
    ({"top_p": 0.0}, "here: top_p = 0.0"),
    ({"plan_horizon": 65}, "here: plan_horizon = 65: a window must fit a rollout, at most num_steps = 64"),
    ({"num_minibatches": 40000}, "here: num_minibatches = 40000: at most the 33792 windows"),
    ({"n_heads": 3}, "here: n_heads = 3: must divide d_model = 256"),
    ({"t_off": 0.8}, "here: t_off = 0.8: must be below t_on = 0.7"),
    ({"val_replan_every": 33}, "here: val_replan_every = 33: at most plan_horizon = 32"),
    ({"d_model": 6}, "here: n_heads = 4: must divide d_model = 6"),
    ({"val_diffusion_steps": 2}, "here: val_diffusion_steps = 2: the loop has three phases"),
    ({"lr_warmup_frames": 10**8}, "here: lr_warmup_frames = 100000000: 48800 gradient steps"),
    ({"offline_total_timesteps": None}, "here: offline_total_timesteps = null"),
]


@pytest.mark.parametrize(("keys", "message"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_a_bad_value_is_one_line_with_key_value_and_origin(keys, message):
    with pytest.raises(ConfigError) as caught:
        offline(**keys)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"dagger_buffer_max": 10}, "dagger_buffer_max = 10: a buffer of 10 must hold the 33792 windows"),
        ({"dagger_beta_final": 1.0, "dagger_beta_init": 0.5}, "dagger_beta_final = 1.0: at most"),
        ({"dagger_replan_every": 33}, "dagger_replan_every = 33: at most plan_horizon = 32"),
        ({"dagger_replan_every": 5}, "dagger_replan_every = 5: must divide num_steps = 64"),
        ({"plan_horizon": 24, "num_minibatches": 1}, "plan_horizon = 24: must divide num_steps = 64"),
    ],
)
def test_dagger_contradictions(keys, message):
    with pytest.raises(ConfigError, match=f"here: {message}"):
        online(**keys)


def test_ppo_minibatches_must_divide_environments():
    with pytest.raises(ConfigError, match="ppo_num_minibatches = 7: must divide ppo_num_envs = 1024"):
        build(PPOConfig, [*base_layers(None), Layer("here", {"ppo_num_minibatches": 7})])


def test_a_message_names_the_file_that_the_value_came_from(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("plan_horizon: 100\n")
    with pytest.raises(ConfigError, match=rf"{path}: plan_horizon = 100"):
        build(OfflineConfig, base_layers(str(path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lrr: 3", "lrr: unknown key (did you mean lr"),
        (b"- lr", "contains a list"),
        (b"lr: [1", "not valid YAML"),
        (b"lr: 1\nlr: 2", "lr is given twice"),
        (b"1: 2", "not a name"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: !!python/object/apply:os.system [echo]", "not valid YAML"),
        (b"lr: \x00", "not valid YAML"),
        (b"lr: 1\nd_model: &a [1]", "line 2: not valid YAML (anchors, aliases and tags are not read)"),
        (b"lr: 1\nd_model: *a", "line 2: not valid YAML (anchors, aliases and tags are not read)"),
        (b"lr: 1\nd_model: !!int x", "line 2: not valid YAML (anchors, aliases and tags are not read)"),
        (b"lr: 1\nd_model: " + b"9" * 5000, "line 2: not valid YAML ('99999999999999999999' is not"),
        (b"lr: 1\nd_model: 0x" + b"f" * 5000, "line 2: not valid YAML ('0xffffffffffffffffff' is not"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        base_layers(str(path))
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_changes_nothing(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    seed = Layer("here", {"seed": 0})
    assert build(OfflineConfig, [*base_layers(str(path)), seed]) == offline(seed=0)


def test_a_misspelt_preset_lists_the_near_ones():
    with pytest.raises(ConfigError, match="did you mean demo"):
        base_layers("demoo")
    with pytest.raises(ConfigError, match=r"no such file"):
        base_layers("nowhere/preset.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "dem"}, "did you mean demo"),
        ({"scal": "demo"}, "unknown key scal"),
        ({"scales": {"demo": {"envs": []}}}, r"scales\.demo\.envs"),
    ],
)
def test_workflow_config_is_checked(change, message):
    with pytest.raises(ConfigError, match=message):
        load_workflow_config(configs_folder().parent / "workflow_config.yaml", change)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resume_step": 3}, "resume_step = 3: needs resume_checkpoint_path"),
        (
            {"resume_checkpoint_path": "x", "resume_step": 1525},
            "resume_step = 1525: the budget is 1525 updates; raise offline_total_timesteps",
        ),
        (
            {"resume_checkpoint_path": "x", "num_repeats": 2},
            "num_repeats = 2: must be 1 with resume_checkpoint_path",
        ),
    ],
)
def test_going_on_is_checked(keys, message):
    with pytest.raises(ConfigError, match=f"here: {message}"):
        offline(**keys)


def test_dagger_has_one_start():
    with pytest.raises(ConfigError, match="offline_checkpoint_path = a: resume_checkpoint_path already"):
        online(offline_checkpoint_path="a", resume_checkpoint_path="b")


def test_a_null_seed_draws_one():
    assert offline(seed=3).seed == 3
    assert len({offline(seed=None).seed for _ in range(5)}) == 5


@pytest.mark.parametrize("game", ["classic", "craftax"])
def test_second_seeds_differ_in_environments_and_seed_alone(game):
    ucl, qmul = (read_mapping(preset_path(f"final_{game}_{site}")) for site in ("ucl", "qmul"))
    assert {key for key in ucl | qmul if ucl.get(key) != qmul.get(key)} == {"num_envs", "seed"}
