"""What each arm of the ablation suite claims, on hand-made numbers and on a tiny network in the toy game."""

import importlib
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remdm.ablations.advantage import moments
from remdm.ablations.arm import ALL_TIMES, Arm, Sample, load_arm, numbers_of, time_range
from remdm.ablations.arms.ewc import weighted_distance
from remdm.ablations.arms.lora import adapters, merge
from remdm.ablations.arms.reward_model import fit
from remdm.ablations.arms.running_stats import RunningStats
from remdm.ablations.arms.trust_region_kl import barrier
from remdm.ablations.finetuning import make_finetuning, targets_of
from remdm.ablations.penalty import entropy, kl_divergence
from remdm.ablations.problem import Batch, make_problem
from remdm.ablations.surgery import cosine, project
from remdm.ablations.trainable import rates, segments
from remdm.config.ablations import AblationsConfig
from remdm.config.arms import ARMS
from remdm.config.denoiser import NO_PAST, DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.planners.denoising import init_params, make_denoiser
from remdm.training import checkpoint
from remdm.training.state import fresh_state, from_items, to_items
from tests.conftest import REPOSITORY
from tests.tiers import slow_except
from tests.toy import GAME, NUM_ACTIONS, toy_env

NETWORK = {
    "plan_horizon": 4, "diffusion_schedule": "cosine", "d_model": 16, "n_heads": 2, "n_layers": 2,
    "d_ff": 16, "obs_encoder_layers": 2, "obs_encoder_width": 16, "time_scale": 1000.0, **NO_PAST,
    "dropout_rate": 0.1,
    "compute_dtype": "float32",
}  # fmt: skip
KEYS = {
    "seed": 0, "num_envs": 8, "num_steps": 16, "lr": 1e-2, "weight_decay": 0.1, "eval_steps": 24,
    "eval_num_envs": 8, "val_diffusion_steps": 3, "ablation_diffusion_steps": 3, "ablation_iterations": 6,
    "ablation_batch_size": 64, "ablation_eval_every": 2, "ablation_eval_replan": 2, "ablation_cka_batch": 32,
    "ablation_t_bins": 3, "ablation_replay_size": 100, "ablation_fisher_batches": 2,
    "ablation_reward_model_steps": 3, "ablation_diagnostics_every": None, "ablation_cka_every": None,
}  # fmt: skip
NAMES = [entry.name for entry in ARMS]
FAST = ["baseline_rl", "head_only", "lora"]  # the others are of the second tier
DATA = [  # differ from the baseline in numbers and rates alone, which are data of its program
    *("llrd", "t_curriculum", "advantage_clip", "bc_wins", "low_t", "frozen_backbone", "head_only"),
    *("attention_only", "ffn_only", "layer_ablation_top1", "layer_ablation_top2", "layer_ablation_top3"),
]


def config_of(**keys):
    return build(AblationsConfig, [*base_layers(None), Layer("test", {**KEYS, **keys})])


@cache
def pretrained(obs_dim=GAME.obs_dim):
    """Random parameters, none of which is zero; values, also where a program that is traced asks first."""
    denoiser = make_denoiser(DenoiserConfig(**NETWORK), NUM_ACTIONS)

    @jax.jit
    def moved():
        params = init_params(denoiser, jax.random.PRNGKey(7), obs_dim)
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.PRNGKey(8), len(leaves))
        leaves = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
        return jax.tree.unflatten(tree, leaves)

    with jax.ensure_compile_time_eval():
        return moved()


def problem_of(**keys):
    return make_problem(config_of(**keys), DenoiserConfig(**NETWORK), toy_env(8))


def algorithm_of(arm, **keys):
    arm = load_arm(arm) if isinstance(arm, str) else arm
    return make_finetuning(problem_of(**keys), toy_env(8), arm, pretrained())


def run(algorithm, updates, update=None):
    """The state before the first update and after the last, and the metrics of all."""
    # As it is, for its operations are those of other arms, and compiled.
    state = first = algorithm.init(jax.random.PRNGKey(0))
    update, metrics = update or jax.jit(algorithm.update), []
    for _ in range(updates):
        state, found = update(state)
        metrics.append(jax.device_get(found))
    return first, state, metrics


@cache
def compiled(name):
    """An arm as it is, and its compiled update, which is the baseline's if that is the same program."""
    algorithm = algorithm_of(name)
    return algorithm, compiled("baseline_rl")[1] if name in DATA else jax.jit(algorithm.update)


@cache
def ran(name, updates=2):
    """Some updates of an arm as it is."""
    algorithm, update = compiled(name)
    return run(algorithm, updates, update)


def named(tree):
    return {"/".join(segments(path)): np.asarray(x) for path, x in jax.tree.leaves_with_path(tree)}


def changed(before, after):
    after = named(after)
    return {name for name, x in named(before).items() if not np.array_equal(x, after[name])}


@pytest.fixture
def baseline():
    return ran("baseline_rl")


# --- which arrays are trained ---

DENSE = ("kernel", "bias")
HEAD = {f"head/{x}" for x in DENSE}
ATTENTION = {
    i: {f"blocks_{i}/attention/{part}/{x}" for part in ("query", "key", "value", "out") for x in DENSE}
    for i in (0, 1)
}
FFN = {i: {f"blocks_{i}/{part}/{x}" for part in ("ffn_in", "ffn_out") for x in DENSE} for i in (0, 1)}
NORMS = {i: {f"blocks_{i}/LayerNorm_{k}/{x}" for k in (0, 1) for x in ("scale", "bias")} for i in (0, 1)}
BLOCK = {i: ATTENTION[i] | FFN[i] | NORMS[i] for i in (0, 1)}
TIME = {f"time_embedding/Dense_{k}/{x}" for k in (0, 1) for x in DENSE}
KERNELS = {name for i in (0, 1) for name in ATTENTION[i] if name.endswith("kernel")}
TRAINED = {
    "lora": KERNELS,
    "frozen_backbone": HEAD | TIME | {"token_embedding/embedding"},
    "head_only": HEAD,
    "attention_only": ATTENTION[0] | ATTENTION[1],
    "ffn_only": FFN[0] | FFN[1],
    "layer_ablation_top1": BLOCK[1] | HEAD,
    "layer_ablation_top2": BLOCK[0] | BLOCK[1] | HEAD,
    "layer_ablation_top3": BLOCK[0] | BLOCK[1] | HEAD,  # of a network of two blocks
}


def all_arrays():
    return set(named(pretrained()))


def test_the_sets_above_are_of_this_network():
    assert all(names <= all_arrays() for names in TRAINED.values())
    assert BLOCK[0] == {name for name in all_arrays() if name.startswith("blocks_0/")}
    assert len(KERNELS) == 8


@pytest.mark.parametrize("name", slow_except(NAMES, FAST))
def test_an_arm_trains_exactly_its_arrays_and_freezes_the_rest_bit_for_bit(name):
    """Of what plays and of what is trained; decay of weights would change frozen arrays too."""
    first, last, metrics = ran(name)
    merged = load_arm(name).merged(last.pretrained, last.trained)
    params = compiled(name)[0].params
    assert changed(pretrained(), merged) == TRAINED.get(name, all_arrays())
    assert changed(pretrained(), params(last)) == TRAINED.get(name, all_arrays())
    assert changed(pretrained(), params(first)) == set()
    assert changed(pretrained(), last.pretrained) == set()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(last.trained))
    for found in metrics:
        assert np.isfinite(found["diffusion/loss"])
        assert found["diffusion/grad_norm"] > 0
        assert found["train/empty_batches"] == 0


def test_the_average_plays_and_follows_the_trained_network():
    """After one update it has gone 1 - 0.9 of the way, and the next rollout is its own."""
    algorithm = algorithm_of("baseline_rl", ablation_ema_decay=0.9)
    update = jax.jit(algorithm.update)
    one, _ = update(algorithm.init(jax.random.PRNGKey(0)))
    before, trained, average = (named(x) for x in (pretrained(), one.trained, one.average))
    for name, x in before.items():
        np.testing.assert_allclose(average[name], x + 0.1 * (trained[name] - x), rtol=1e-5, atol=1e-7)
    # What plays the second rollout: other weights of the average lead to other games.
    other = replace(one, average=jax.tree.map(lambda x: -x, one.average))
    assert float(update(one)[1]["env/reward"]) != float(update(other)[1]["env/reward"])


def test_names_are_matched_by_whole_segments():
    """`header/kernel` and `blocks_10` are neither `head` nor `blocks_1`."""
    tree = {
        "params": {"header": {"kernel": 0}, "head": {"kernel": 0}, "blocks_1": {"ffn_inner": {"kernel": 0}}}
    }
    tree["params"]["blocks_10"] = {"attention": {"query_norm": {"kernel": 0}, "query": {"kernel": 0}}}

    def trained(name):
        found = rates(load_arm(name).rate, tree, 11)
        return {"/".join(segments(path)) for path, x in jax.tree.leaves_with_path(found) if x}

    assert trained("head_only") == {"head/kernel"}
    assert trained("ffn_only") == set()
    assert trained("attention_only") == {"blocks_10/attention/query/kernel"}
    attention = {f"blocks_10/attention/{part}/kernel" for part in ("query_norm", "query")}
    assert trained("layer_ablation_top1") == {"head/kernel"} | attention


def test_learning_rates_decay_by_layer():
    """Two blocks: 1 for head and last norm, 0.9, 0.81, and 0.729 for what enters."""
    found = {name: float(x) for name, x in named(rates(load_arm("llrd").rate, pretrained(), 2)).items()}
    expected = {"head": 1.0, "final_norm": 1.0, "blocks_1": 0.9, "blocks_0": 0.81}
    for name, rate in found.items():
        assert rate == pytest.approx(expected.get(name.split("/")[0], 0.729))


def test_a_rate_scales_the_step(baseline):
    one, _, _ = baseline
    _, base, _ = ran("baseline_rl", 1)
    _, decayed, _ = ran("llrd", 1)
    start, base, decayed = (named(x.trained) for x in (one, base, decayed))
    for name, rate in {"blocks_0/ffn_in/kernel": 0.81, "head/kernel": 1.0}.items():
        np.testing.assert_allclose(
            decayed[name] - start[name], rate * (base[name] - start[name]), rtol=1e-3, atol=1e-7
        )


# --- at coefficient 0 ---

NEUTRAL = {
    "kl_penalty": {"COEFFICIENT": 0.0},
    "ewc": {"COEFFICIENT": 0.0},
    "trust_region_kl": {"COEFFICIENT": 0.0},
    "entropy_bonus": {"COEFFICIENT": 0.0},
    "llrd": {"DECAY": 1.0},
    "mixed_replay": {"FRACTION": 0.0},
    "t_curriculum": {"FIRST_TIMES": ALL_TIMES, "LOW_TIMES": ALL_TIMES},
    "low_t": {"LOW_TIMES": ALL_TIMES},
    "advantage_clip": {"WEIGHT_RANGE": (0.1, 5.0)},
}


@pytest.fixture(scope="module")
def optimised_baseline():
    """The baseline's update and its state after two, compiled as users' programs are."""
    algorithm = algorithm_of("baseline_rl")
    update = jax.jit(algorithm.update)
    return update, run(algorithm, 2, update)[1]


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", NEUTRAL)
def test_an_arm_whose_coefficient_is_neutral_is_the_baseline(name, optimised_baseline, monkeypatch):
    module = importlib.import_module(f"remdm.ablations.arms.{name}")
    for constant, value in NEUTRAL[name].items():
        assert getattr(module, constant) != value
        monkeypatch.setattr(module, constant, value)
    update, baseline = optimised_baseline
    _, last, _ = run(algorithm_of(name), 2, update if name in DATA else None)
    if name == "ewc":
        # XLA sums its gradient in another order: after two updates the last bit differs.
        ours, theirs = named(last.trained), named(baseline.trained)
        for path, array in ours.items():
            np.testing.assert_allclose(array, theirs[path], rtol=1e-5, atol=3e-7)
        return
    assert changed(baseline.trained, last.trained) == set()
    assert changed(baseline.average, last.average) == set()


@pytest.mark.parametrize("name", slow_except(NAMES[1:], FAST[1:]))
def test_an_arm_is_not_the_baseline(name, baseline):
    if name == "trust_region_kl":
        pytest.skip("is the baseline within the wall, by design")
    if name == "gradient_surgery":
        # No gradient conflicts with cloning's in the first two updates.
        _, baseline, _ = ran("baseline_rl", 4)
        _, last, _ = ran(name, 4)
    else:
        (_, baseline, _), (_, last, _) = baseline, ran(name)
    ours = load_arm(name).merged(last.pretrained, last.trained)
    assert changed(baseline.trained, ours) != set()


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_arms_that_differ_in_data_alone_are_one_program(name):
    """So they compile once: from a cache that outlives the process, or side by side."""
    assert _program(name) == _program("baseline_rl")
    assert _program("action_diversity") != _program("baseline_rl")


@cache
def _program(name):
    algorithm = algorithm_of(name)
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    return jax.jit(algorithm.update).lower(state).as_text()


# --- penalties ---


def test_divergences_by_hand():
    # p = (3/4, 1/4), q = (1/2, 1/2): KL(p || q) = 3/4 log(3/2) + 1/4 log(1/2).
    p, q = jnp.log(jnp.array([[0.75, 0.25]])), jnp.log(jnp.array([[0.5, 0.5]]))
    assert kl_divergence(p, q)[0] == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), rel=1e-5)
    # The other way round: 1/2 log(2/3) + 1/2 log 2. It is the first that the arms take.
    assert kl_divergence(q, p)[0] == pytest.approx(0.5 * np.log(2 / 3) + 0.5 * np.log(2), rel=1e-5)
    assert kl_divergence(p + 3.0, p)[0] == pytest.approx(0.0, abs=1e-6)
    assert entropy(q)[0] == pytest.approx(np.log(2), rel=1e-6)
    assert entropy(p)[0] == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rel=1e-5)


def test_a_barrier_is_nothing_within_its_limit():
    # max(0.25 - 0.05, 0)^2 = 0.04; its slope is 2 * 0.2.
    assert barrier(jnp.float32(0.05), 0.05) == 0.0
    assert barrier(jnp.float32(0.25), 0.05) == pytest.approx(0.04)
    assert jax.grad(barrier)(jnp.float32(0.03), 0.05) == 0.0
    assert jax.grad(barrier)(jnp.float32(0.25), 0.05) == pytest.approx(0.4)


def test_the_distance_is_weighted_by_importance():
    # 2 * (3 - 1)^2 + 1 * (0 - 1)^2 + 5 * 0^2 = 9, and its slope at the first is 2 * 2 * (3 - 1) = 8.
    params, anchor = (
        {"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)},
        {"a": jnp.ones(2), "b": jnp.array(4.0)},
    )
    importance = {"a": jnp.array([2.0, 1.0]), "b": jnp.array(5.0)}
    assert weighted_distance(params, anchor, importance) == 9.0
    assert jax.grad(weighted_distance)(params, anchor, importance)["a"].tolist() == [8.0, -2.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl_penalty", "ewc", "trust_region_kl"])
def test_a_distance_from_the_pretrained_policy_begins_at_zero(name):
    """Dropout, or another draw of noise for one of the two policies, would make it positive."""
    _, state, metrics = ran(name)
    assert metrics[0]["diffusion/penalty"] == 0.0
    if name != "trust_region_kl":
        assert metrics[1]["diffusion/penalty"] > 0.0
    if name == "ewc":
        assert jax.tree.structure(state.extra) == jax.tree.structure(state.pretrained)
        assert all(
            (x >= 0).all() and x.max() > 0 for key, x in named(state.extra).items() if "key" not in key
        )


def penalty_of(name, params, **given):
    """An arm's penalty on parameters, of a noised batch; parts of the sample can be given."""

    @jax.jit
    def taken(params):
        problem, batch = problem_of(), batch_of([1.0] * 8, plan=[[0, 1, 2, 3]] * 8)
        batch = batch._replace(obs=jax.random.normal(jax.random.PRNGKey(0), (8, GAME.obs_dim)))
        noised = problem.objective.noise(jax.random.PRNGKey(1), batch.plan)
        logits = problem.logits(params, batch, noised)
        sample = Sample(problem, params, pretrained(), batch, noised, logits, ())
        return load_arm(name).penalty(replace(sample, **given))

    return float(taken(params))


def test_the_wall_is_met_beyond_its_limit():
    near, far = (jax.tree.map(lambda x, by=by: by * x, pretrained()) for by in (1.001, 3.0))
    assert 0.0 < penalty_of("kl_penalty", near) < 0.1 * 0.05 < penalty_of("kl_penalty", far)
    assert penalty_of("trust_region_kl", near) == 0.0
    assert penalty_of("trust_region_kl", far) > 0.0


@pytest.mark.slow
def test_a_penalty_is_taken_at_the_bounds_own_draw():
    def penalty(sample):
        return jnp.mean(sample.noised.t) + jnp.mean(sample.noised.tokens == NUM_ACTIONS)

    _, _, [metrics] = run(algorithm_of(Arm(penalty=penalty)), 1)
    assert metrics["diffusion/penalty"] == pytest.approx(
        metrics["diffusion/mean_t"] + metrics["diffusion/frac_masked"], rel=1e-6
    )


def test_the_bonus_is_the_entropy_of_masked_positions():
    """A uniform network's is log V, whatever is masked: the penalty is -0.01 log 4."""
    found = penalty_of("entropy_bonus", pretrained(), logits=jnp.zeros((8, 4, NUM_ACTIONS)))
    assert found == pytest.approx(-0.01 * np.log(4), rel=1e-5)


# --- gradient surgery ---


def test_conflicting_gradients_are_made_orthogonal():
    # g = (1, 0), o = (-1, 1): g . o = -1, o . o = 2, so g - (-1/2) o = (1/2, 1/2).
    # |removed|^2 = |(-1/2)(-1, 1)|^2 = 1/2; |g| = 1.
    g, o = jnp.array([1.0, 0.0]), jnp.array([-1.0, 1.0])
    found = project({"x": g}, {"x": o})
    assert found.gradient["x"].tolist() == [0.5, 0.5]
    assert found.removed_share == pytest.approx(0.5)
    assert found.conflicting == 1
    # g = (1, 2) and o = (1, 0) agree: nothing is removed.
    found = project({"x": jnp.array([1.0, 2.0])}, {"x": jnp.array([1.0, 0.0])})
    assert found.gradient["x"].tolist() == [1.0, 2.0]
    assert (found.removed_share, found.conflicting) == (0.0, 0.0)


def test_surgery_is_per_array():
    """x conflicts and y agrees; of both together, g . o = -1 + 9 > 0 and nothing would be removed."""
    g = {"x": jnp.array([1.0, 0.0]), "y": jnp.array([3.0])}
    found = project(g, {"x": jnp.array([-1.0, 1.0]), "y": jnp.array([3.0])})
    assert found.gradient["x"].tolist() == [0.5, 0.5]
    assert found.gradient["y"].tolist() == [3.0]
    assert found.conflicting == 1
    assert cosine({"x": jnp.array([1.0, 0.0])}, {"x": jnp.array([1.0, 1.0])}) == pytest.approx(np.sqrt(0.5))
    assert project({"x": g["x"]}, {"x": jnp.zeros(2)}).gradient["x"].tolist() == [1.0, 0.0]


def test_the_arm_operates_with_the_gradient_of_cloning():
    arm = load_arm("gradient_surgery")
    g = {"x": jnp.array([1.0, 0.0])}
    assert arm.adjust(g, lambda: {"x": jnp.array([-1.0, 1.0])})["x"].tolist() == [0.5, 0.5]


@pytest.mark.slow
def test_surgery_compares_with_cloning_at_the_current_parameters():
    """With equal weights the two gradients are one, so nothing is left of their difference."""
    arm = Arm(
        trained=lambda key, pretrained: jax.tree.map(lambda x: 1.2 * x, pretrained),
        weigh=lambda numbers, batch, extra: (jnp.ones_like(batch.returns), extra),
        adjust=lambda gradient, cloning: jax.tree.map(jnp.subtract, gradient, cloning()),
    )
    _, _, [metrics] = run(algorithm_of(arm), 1)
    assert metrics["diffusion/grad_norm"] < 1e-5


# --- LoRA ---


def test_adapters_are_of_the_attention_kernels_alone_and_begin_at_zero():
    found = adapters(jax.random.PRNGKey(0), pretrained(), rank=3)
    assert set(found) == KERNELS
    shapes = {name: (own["a"].shape, own["b"].shape) for name, own in found.items()}
    # [d, heads, width] = [16, 2, 8]; `out` is [2, 8, 16], with two axes of input.
    assert shapes["blocks_0/attention/query/kernel"] == ((16, 3), (3, 2, 8))
    assert shapes["blocks_0/attention/out/kernel"] == ((2, 8, 3), (3, 16))
    assert changed(pretrained(), merge(pretrained(), found, 2.0)) == set()
    drawn = np.concatenate([np.ravel(own["a"]) for own in found.values()])
    # 384 draws: the standard error of a standard deviation is 0.02 / sqrt(768) = 0.0007; four of them.
    assert drawn.std() == pytest.approx(0.02, abs=0.0029)


def test_merged_and_unmerged_adapters_are_the_same():
    found = adapters(jax.random.PRNGKey(0), pretrained(), rank=3)
    found = jax.tree.map(lambda x: x + 0.1, found)
    merged = named(merge(pretrained(), found, 2.0))
    x, y = (
        jax.random.normal(jax.random.PRNGKey(1), (5, 16)),
        jax.random.normal(jax.random.PRNGKey(2), (5, 2, 8)),
    )
    name = "blocks_1/attention/value/kernel"
    own = found[name]
    unmerged = jnp.einsum("nd,dhw->nhw", x, named(pretrained())[name])
    unmerged += 2.0 * jnp.einsum("nr,rhw->nhw", x @ own["a"], own["b"])
    np.testing.assert_allclose(jnp.einsum("nd,dhw->nhw", x, merged[name]), unmerged, rtol=1e-4, atol=1e-5)
    name = "blocks_1/attention/out/kernel"
    own = found[name]
    unmerged = jnp.einsum("nhw,hwd->nd", y, named(pretrained())[name])
    unmerged += 2.0 * jnp.einsum("nhw,hwr->nr", y, own["a"]) @ own["b"]
    np.testing.assert_allclose(jnp.einsum("nhw,hwd->nd", y, merged[name]), unmerged, rtol=1e-4, atol=1e-5)


def test_rank_and_scale_are_those_of_the_arm():
    arm = load_arm("lora")
    trained = arm.trained(jax.random.PRNGKey(0), pretrained())
    assert set(trained) == KERNELS
    own = trained["blocks_0/attention/query/kernel"]
    assert own["a"].shape == (16, 8)
    # alpha / rank = 16 / 8; A and B all ones give 2 * 8 everywhere.
    ones = jax.tree.map(jnp.ones_like, trained)
    merged = named(arm.merged(pretrained(), ones))["blocks_0/attention/query/kernel"]
    np.testing.assert_allclose(
        merged - named(pretrained())["blocks_0/attention/query/kernel"], 16.0, rtol=1e-5
    )


# --- weights, filters, ranges of t ---


def batch_of(returns, valid=None, plan=None):
    size = len(returns)
    return Batch(
        obs=jnp.zeros((size, 2)),
        plan=jnp.asarray(plan if plan is not None else [[0, 1]] * size),
        valid=jnp.asarray(valid if valid is not None else [True] * size),
        returns=jnp.asarray(returns, jnp.float32),
    )


def weights_of(name, batch, extra=()):
    arm = load_arm(name)
    config = config_of(arm=name)
    return np.asarray(arm.weigh(numbers_of(arm, config), batch, extra)[0]).tolist()


def kept_of(name, batch):
    arm = load_arm(name)
    return np.asarray(arm.keep(numbers_of(arm, config_of(arm=name)), batch)).tolist()


def test_weights_by_return():
    # Mean of max(return, 0) over valid windows: (0 + 0 + 1 + 3) / 4 = 1; the invalid 96 counts nothing.
    batch = batch_of([-1.0, 0.0, 1.0, 3.0, 96.0], [True, True, True, True, False])
    assert weights_of("baseline_rl", batch)[:4] == pytest.approx([0.1, 0.1, 1.0, 3.0])
    assert weights_of("advantage_clip", batch)[:4] == pytest.approx([0.8, 0.8, 1.0, 1.2])
    assert weights_of("baseline_rl", batch)[4] == 5.0
    assert weights_of("baseline_rl", batch_of([0.0, 0.0])) == pytest.approx([0.1, 0.1])


def test_standardised_weights():
    # Mean 2, variance (4 + 0 + 4) / 3: standard deviation 1.63299.
    batch = batch_of([0.0, 2.0, 4.0, 1000.0], [True, True, True, False])
    assert weights_of("normalized_adv", batch)[:3] == pytest.approx([-1.22474, 0.0, 1.22474], rel=1e-4)
    # All the same: no advantage, and no division by nothing.
    assert weights_of("normalized_adv", batch_of([1.0, 1.0])) == [0.0, 0.0]
    assert [float(x) for x in moments(jnp.array([1.0, 2.0]), jnp.zeros(2, bool))] == [0.0, 0.0]


def test_running_statistics_average_over_updates():
    arm, numbers = load_arm("running_stats"), numbers_of(load_arm("running_stats"), config_of())
    # Of max(return, 0), from 0 and 1: means 1 and 6, deviations 1 and 2; the third window is not valid.
    first, second = batch_of([-3.0, 2.0, 90.0], [True, True, False]), batch_of([4.0, 8.0])
    weights, stats = arm.weigh(numbers, first, arm.init_extra(None, None, None))
    assert (float(stats.mean), float(stats.std)) == pytest.approx((0.01, 1.0))
    assert weights.tolist()[:2] == pytest.approx([1 - 0.01, 1 + 1.99])
    # 0.99 * 0.01 + 0.01 * 6 = 0.0699, 0.99 * 1 + 0.01 * 2 = 1.01.
    weights, stats = arm.weigh(numbers, second, stats)
    assert (float(stats.mean), float(stats.std)) == pytest.approx((0.0699, 1.01))
    assert weights.tolist() == pytest.approx([1 + (4 - 0.0699) / 1.01, 5.0])
    # However poor a window is beside the average, its weight is positive.
    rich = RunningStats(jnp.array(9.0), jnp.array(1.0))
    assert arm.weigh(numbers, batch_of([0.0, 0.0]), rich)[0].tolist() == pytest.approx([0.1, 0.1])
    # A batch without a valid window changes nothing.
    _, same = arm.weigh(numbers, batch_of([50.0], [False]), stats)
    assert (float(same.mean), float(same.std)) == (float(stats.mean), float(stats.std))


def test_wins_are_cloned_evenly():
    batch = batch_of([0.0, 0.5, 0.6, 9.0])
    assert weights_of("bc_wins", batch) == [1.0] * 4
    assert kept_of("bc_wins", batch) == [False, False, True, True]
    assert kept_of("baseline_rl", batch) == [True] * 4


def test_the_best_quarter_is_strictly_above_the_percentile_of_valid_returns():
    # Of 0, 1, 2, 3, 4 the 75th percentile is 3; with the invalid ones it would be far higher.
    batch = batch_of([0, 1, 2, 3, 4, 90, 90, 90], [True] * 5 + [False] * 3)
    assert kept_of("reward_filtering", batch) == [False] * 4 + [True] + [False] * 3
    assert not any(kept_of("reward_filtering", batch_of([1.0, 1.0, 1.0])))
    assert not any(kept_of("reward_filtering", batch_of([1.0, 2.0], [False, False])))


def test_degenerate_plans_are_dropped():
    batch = batch_of([0.0] * 3, plan=[[2, 2, 2], [2, 2, 1], [1, 2, 2]])
    assert kept_of("action_diversity", batch) == [False, True, True]


def test_the_loss_is_a_mean_over_what_is_kept():
    batch = batch_of([0.0] * 4, [True, True, True, False])
    targets = targets_of(batch, jnp.ones(4), jnp.array([True, False, False, True]))
    # Two of four are kept: their weight doubles, so that the mean over four is theirs.
    assert targets.counts.tolist() == [True, False, False, False]
    assert targets.weights.tolist() == [2.0, 0.0, 0.0, 2.0]
    assert targets_of(batch, jnp.ones(4), jnp.zeros(4, bool)).weights.tolist() == [0.0] * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bc_wins", "reward_filtering", "action_diversity"])
def test_an_empty_batch_is_counted_and_never_nan(name):
    """No window is won, none is better than the others, or all plans are one action."""
    keys = {"ablation_win_threshold": 1e6}
    arm = load_arm(name)
    if name != "bc_wins":
        own, same = arm.keep, jnp.zeros
        arm = replace(
            arm,
            keep=lambda numbers, batch: own(
                numbers, batch._replace(returns=same(batch.returns.shape), plan=same(batch.plan.shape))
            ),
        )
    _, state, metrics = run(algorithm_of(arm, **keys), 2, compiled(name)[1] if name in DATA else None)
    for found in metrics:
        assert found["train/empty_batches"] == 1
        assert found["diffusion/loss"] == found["diffusion/grad_norm"] == 0
        assert found["train/effective_batch"] == found["train/weight_mean"] == 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.trained))


@pytest.mark.parametrize(
    ("name", "update", "expected"),
    [
        ("baseline_rl", 7, (1e-5, 1.0)),
        ("low_t", 7, (1e-5, 0.2)),
        ("t_curriculum", 0, (0.8, 1.0)),
        ("t_curriculum", 100, (0.4, 0.6)),
        ("t_curriculum", 200, (1e-5, 0.2)),
        ("t_curriculum", 499, (1e-5, 0.2)),
    ],
)
def test_times_are_drawn_from_the_arms_range(name, update, expected):
    arm = load_arm(name)
    numbers = numbers_of(arm, config_of())
    low, high = time_range(numbers, jnp.asarray(update))
    assert (float(low), float(high)) == pytest.approx(expected, abs=1e-5)
    batch = batch_of([0.0] * 500)
    t = problem_of().objective.noise(jax.random.PRNGKey(0), batch.plan, low, high).t
    assert expected[0] - 1e-5 <= t.min() < t.max() <= expected[1] + 1e-5
    # The range of 500 draws covers all but a few hundredths of it.
    assert t.max() - t.min() > 0.95 * (expected[1] - expected[0])


def test_a_range_of_times_is_never_too_narrow():
    numbers = replace(numbers_of(Arm(), config_of()), first_times=jnp.array([0.5, 0.5]))
    low, high = time_range(numbers, jnp.asarray(0))
    assert (float(low), float(high)) == pytest.approx((0.5, 0.55))


@pytest.mark.slow
def test_times_reach_the_update():
    _, _, metrics = ran("low_t")
    assert metrics[0]["diffusion/mean_t"] < 0.2
    _, _, metrics = ran("t_curriculum")
    assert metrics[0]["diffusion/mean_t"] > 0.8


# --- replay and the reward model ---


def test_a_quarter_of_the_batch_comes_from_the_past():
    arm, problem = load_arm("mixed_replay"), problem_of()
    buffer = arm.init_extra(problem, None, None)
    assert buffer.capacity == 100

    def fresh(mark):
        batch = batch_of([mark] * 64, plan=[[0, 1, 2, 3]] * 64)
        return batch._replace(obs=jnp.full((64, GAME.obs_dim), mark))

    key = jax.random.PRNGKey(0)
    batch, buffer, metrics = arm.prepare(problem, key, fresh(1.0), buffer)
    assert (batch.returns == 1.0).all()  # nothing is past yet
    assert (buffer.size, metrics["train/replay_fill"]) == (64, 0.0)
    batch, buffer, _ = arm.prepare(problem, key, fresh(2.0), buffer)
    assert batch.returns.tolist() == [1.0] * 16 + [2.0] * 48
    assert (batch.obs[:, 0] == batch.returns).all()
    # What was drawn fresh is remembered, all 64 and whole; 36 of the oldest are left beside them.
    assert sorted(buffer.items.returns.tolist()) == [1.0] * 36 + [2.0] * 64
    assert (buffer.items.obs == buffer.items.returns[:, None]).all()
    assert (buffer.items.plan == jnp.arange(4)).all()


def test_the_memory_has_room_for_no_more_than_the_run_draws():
    buffer = load_arm("mixed_replay").init_extra(problem_of(ablation_replay_size=10_000), None, None)
    assert buffer.capacity == 6 * 64


def test_the_reward_model_learns_returns_from_windows():
    """The return is the first action: what is fitted says so, where the raw returns are as asked."""
    plan = jax.random.randint(jax.random.PRNGKey(0), (64, 4), 0, NUM_ACTIONS)
    batch = batch_of(plan[:, 0] * 1.0, plan=plan)._replace(obs=jnp.zeros((64, GAME.obs_dim)))
    regression = untrained = load_arm("reward_model").init_extra(problem_of(), jax.random.PRNGKey(1), None)
    _, _, first = fit(regression, batch, NUM_ACTIONS, 1)
    regression, predicted, error = fit(regression, batch, NUM_ACTIONS, 600)
    assert error < 0.05 * first
    assert np.corrcoef(predicted, batch.returns)[0, 1] > 0.97
    # Invalid windows teach nothing.
    nothing = batch._replace(valid=jnp.zeros(64, bool))
    same, _, _ = fit(untrained, nothing, NUM_ACTIONS, 2)
    assert changed(untrained.params, same.params) == set()


def test_the_reward_model_replaces_the_returns():
    arm, problem = load_arm("reward_model"), problem_of()
    regression = arm.init_extra(problem, jax.random.PRNGKey(0), None)
    kernels = [x.shape for name, x in named(regression.params).items() if name.endswith("kernel")]
    assert kernels == [(GAME.obs_dim + 4 * NUM_ACTIONS, 64), (64, 64), (64, 1)]
    batch = batch_of([1.0] * 8, plan=[[0, 1, 2, 3]] * 8)._replace(obs=jnp.zeros((8, GAME.obs_dim)))
    new, fitted, metrics = arm.prepare(problem, None, batch, regression)
    assert (new.returns != batch.returns).all()
    assert metrics["train/reward_model_loss"] >= 0
    # Three steps of the configuration are three of Adam.
    assert int(fitted.opt_state[1][0].count) == 3


# --- all of them ---


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["baseline_rl", "mixed_replay", "running_stats", "reward_model", "ewc", "lora"]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(name, tmp_path):
    """The arm's own part of the state is in the checkpoint: a buffer, statistics, a model, importances."""
    algorithm, update = compiled(name)
    key = jax.random.PRNGKey(3)
    state = fresh_state(algorithm, key)
    state = replace(state, algorithm=update(state.algorithm)[0])
    checkpoint.save(tmp_path / "saved", to_items(state, with_buffer=True), {})
    whole, _ = update(state.algorithm)
    again = from_items(algorithm, key, tmp_path / "saved")
    resumed, _ = update(again.algorithm)
    assert jax.tree.structure(whole) == jax.tree.structure(resumed)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_arm_is_a_module_and_every_module_an_arm():
    modules = {path.stem for path in (REPOSITORY / "remdm" / "ablations" / "arms").glob("*.py")} - {
        "__init__"
    }
    assert modules == set(NAMES)
    assert len(NAMES) == len(set(NAMES)) == 25
    assert all(isinstance(load_arm(name), Arm) for name in NAMES)
