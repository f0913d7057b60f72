"""The ablation suite's engine: fine-tuning on the one loop, its diagnostics, its files and its command."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from jax.extend.core import jaxprs_in_params

from remdm import cli
from remdm.ablations.diagnostics import linear_cka
from remdm.ablations.evaluation import evaluate
from remdm.ablations.surgery import cosine
from remdm.base.checkpoint_folder import read_metadata
from remdm.base.errors import UserError
from remdm.base.reader import read_mapping
from remdm.config.arms import ARMS, GROUPS
from remdm.config.denoiser import DenoiserConfig
from remdm.config.workflow import AblationsEntry
from remdm.envs.batch import make_batch_env
from remdm.loading.checkpoint import describe
from remdm.stages.ablations import run_ablations
from remdm.training import checkpoint
from remdm.training.algorithm import repeated
from remdm.training.loop import train
from remdm.workflow.digest import stage_origin
from remdm.workflow.plan import Job, Plan
from tests.test_arms import (
    KEYS,
    NETWORK,
    algorithm_of,
    changed,
    config_of,
    named,
    pretrained,
    problem_of,
    ran,
    run,
)
from tests.test_workflow import GAME as CLASSIC
from tests.test_workflow import WORKFLOW
from tests.toy import GAME, toy_env

DUE = {"ablation_diagnostics_every": 2, "ablation_cka_every": 3}
LAYERS = {"obs_encoder", "time_embedding", "token_embedding", "blocks_0", "blocks_1", "final_norm", "head"}


# --- diagnostics ---


@pytest.fixture(scope="module")
def measuring():
    """The baseline with diagnostics, and its compiled update."""
    algorithm = algorithm_of("baseline_rl", **DUE)
    return algorithm, jax.jit(algorithm.update)


@pytest.fixture(scope="module")
def diagnosed(measuring):
    """Four updates with diagnostics, in one run of the loop's own kind."""
    algorithm, update = measuring
    return algorithm, *run(algorithm, 4, update)


@pytest.mark.slow
def test_diagnostics_change_nothing_that_is_trained(diagnosed):
    _, _, last, _ = diagnosed
    _, without, _ = ran("baseline_rl", 4)
    assert changed(last.trained, without.trained) == set()
    assert changed(last.average, without.average) == set()
    assert (last.key == without.key).all()


@pytest.mark.slow
def test_diagnostics_are_measured_when_due_and_absent_otherwise(diagnosed):
    """At the first update, so that curves have a start, and at every second or third."""
    _, _, _, metrics = diagnosed
    names = {name for name in metrics[0] if name.startswith("diag/")}
    assert names == {
        *("diag/gradient_cosine", "diag/rl_grad_norm", "diag/bc_grad_norm", "diag/t_low_high_cosine"),
        *("diag/pcgrad_removed_share", "diag/pcgrad_conflicting_tensors", "diag/cka", "diag/kl"),
        *("diag/kl_low_t", "diag/kl_mid_t", "diag/kl_high_t"),
        *("diag/t_low_grad_norm", "diag/t_high_grad_norm"),
        *(f"diag/layer_{what}/{layer}" for what in ("grad_norm", "cosine") for layer in LAYERS),
        *(f"diag/t_bin_grad_norm/{i}" for i in range(3)),
    }
    present = [[not np.isnan(m[name]) for m in metrics] for name in ("diag/gradient_cosine", "diag/cka")]
    assert present == [[True, True, False, True], [True, False, True, False]]


@pytest.mark.slow
def test_diagnostics_at_the_start_are_those_of_the_pretrained_policy(diagnosed):
    _, _, _, [first, second, *_] = diagnosed
    assert first["diag/kl"] == first["diag/kl_low_t"] == 0.0
    assert first["diag/cka"] == pytest.approx(1.0, abs=1e-5)
    assert 0.3 < first["diag/gradient_cosine"] <= 1.0
    assert second["diag/kl"] > 0.0
    # Squares of the layers' norms add up to that of all.
    layers = [first[f"diag/layer_grad_norm/{layer}"] ** 2 for layer in LAYERS]
    assert sum(layers) == pytest.approx(first["diag/rl_grad_norm"] ** 2, rel=1e-4)


@pytest.mark.slow
def test_gradients_are_compared_at_one_draw(measuring):
    """With every weight 1, the gradient by reward is that of cloning; at two draws it would not be."""
    algorithm, update = measuring
    state = algorithm.init(jax.random.PRNGKey(0))
    _, metrics = update(state.replace(numbers=state.numbers.replace(weight_range=jnp.ones(2))))
    assert metrics["diag/gradient_cosine"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["diag/rl_grad_norm"] == pytest.approx(metrics["diag/bc_grad_norm"], rel=1e-5)
    assert metrics["diag/pcgrad_conflicting_tensors"] == metrics["diag/pcgrad_removed_share"] == 0.0


def test_representations_that_differ_by_a_rotation_are_the_same():
    x = jax.random.normal(jax.random.PRNGKey(0), (40, 3))
    rotation, _ = jnp.linalg.qr(jax.random.normal(jax.random.PRNGKey(1), (3, 3)))
    assert linear_cka(x, 2.0 * x @ rotation + 5.0) == pytest.approx(1.0, abs=1e-5)
    # Features that never vary together: 0. x = (1, -1, 1, -1), y = (1, 1, -1, -1), x . y = 0.
    x, y = jnp.array([[1.0], [-1], [1], [-1]]), jnp.array([[1.0], [1], [-1], [-1]])
    assert linear_cka(x, y) == pytest.approx(0.0, abs=1e-6)
    # One dimension: the squared correlation. (1, -1, 1, -1) and (2, 0, 0, -2): 4 / (2 sqrt(8)), squared 1/2.
    assert linear_cka(x, jnp.array([[2.0], [0], [0], [-2]])) == pytest.approx(0.5, rel=1e-5)
    assert cosine({"a": jnp.array([3.0, 0.0])}, {"a": jnp.array([0.0, 2.0])}) == 0.0


def _conditions(jaxpr):
    """How many conditions there are in a program, at any depth."""
    count = sum(equation.primitive.name == "cond" for equation in jaxpr.eqns)
    inner = [jaxprs_in_params(e.params) for e in jaxpr.eqns if e.primitive.name != "cond"]
    return count + sum(_conditions(own) for found in inner for own in found)


@pytest.mark.slow
def test_repetitions_pay_for_diagnostics_only_when_due():
    """Vectorised over a count of updates of each, a condition would become a choice between both branches."""
    algorithm = repeated(algorithm_of("baseline_rl", **DUE), 2)
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    with_them = _conditions(jax.make_jaxpr(algorithm.update)(state).jaxpr)
    plain = repeated(algorithm_of("baseline_rl"), 2)
    assert with_them == _conditions(jax.make_jaxpr(plain.update)(state).jaxpr) + 2
    assert state.update.shape == ()
    assert state.trained["params"]["head"]["bias"].shape[0] == 2
    assert jax.tree.leaves(state.pretrained)[0].shape == jax.tree.leaves(pretrained())[0].shape


@pytest.mark.slow
def test_the_batch_is_described():
    _, _, [metrics] = ran("baseline_rl", 1)
    assert metrics["diffusion/loss"] > 0
    assert 0 < metrics["train/win_rate"] <= 1
    assert 1 <= metrics["train/effective_batch"] <= 64
    assert metrics["train/effective_batch"] <= 64 * metrics["train/counted_fraction"]
    # The weights of valid windows were divided by their mean, and clipping moves that little.
    assert metrics["train/weight_mean"] == pytest.approx(1.0, abs=0.15)
    assert 0 < metrics["train/window_return"] < 4


# --- evaluation ---


def test_actions_are_counted_and_no_pair_spans_two_episodes():
    problem = problem_of()
    play = jax.jit(lambda key: evaluate(problem, toy_env(8), key, pretrained()))
    found = jax.device_get(play(jax.random.PRNGKey(0)))
    assert found["actions/counts"].sum() == 8 * KEYS["eval_steps"]
    # Every episode that ends before the last step breaks one pair.
    pairs = 8 * (KEYS["eval_steps"] - 1)
    assert pairs - found["val/episodes"] <= found["actions/bigrams"].sum() < pairs
    assert (found["actions/bigrams"].sum(axis=1) <= found["actions/counts"]).all()
    assert found["val/score"] == pytest.approx(found["val/reward"] * KEYS["eval_steps"], rel=1e-5)


# --- the loop: repetitions ---


@pytest.mark.slow
def test_seeds_of_an_arm_run_side_by_side(make_run):
    """As rows and as the cadence of rows, through the loop; each repetition is another experiment."""
    with make_run(name="many") as job:
        results, _ = train(algorithm_of("running_stats", **DUE), 0, job, repeats=2)
    tables = [pl.read_parquet(result.folder / "metrics.parquet") for result in results]
    for table in tables:
        present = {
            name: table.filter(pl.col(name).is_not_null())["update"].to_list()
            for name in ("diag/kl", "diag/cka", "val/score", "diffusion/loss")
        }
        assert present == {
            "diag/kl": [1, 2, 4, 6], "diag/cka": [1, 3, 6], "val/score": [2, 4, 6],
            "diffusion/loss": [1, 2, 3, 4, 5, 6],
        }  # fmt: skip
    assert tables[0]["diffusion/loss"].to_list() != tables[1]["diffusion/loss"].to_list()
    assert changed(results[0].params, results[1].params) != set()


# --- the stage ---


@pytest.fixture
def toy_game(monkeypatch):
    monkeypatch.setattr("remdm.envs.batch.load_game", lambda name: GAME)


@pytest.fixture
def planner(tmp_path):
    def save(name="planner", kind="planner", env_name=CLASSIC, obs_dim=GAME.obs_dim, **network):
        network = DenoiserConfig(**{**NETWORK, **network})
        params = pretrained(obs_dim)
        checkpoint.save(tmp_path / name, {"params": params}, describe(kind, env_name, network, 1, 1))
        return str(tmp_path / name)

    return save


@pytest.mark.slow
def test_a_job_leaves_its_files(make_run, planner, toy_game, caplog):
    keys = {"ablation_win_threshold": 1e6, "ablation_iterations": 2}
    config = config_of(arm="bc_wins", checkpoint_path=planner(), **keys)
    with make_run("ablations") as job, caplog.at_level("WARNING", "remdm"):
        run_ablations(config, job)
    assert "bc_wins: of 2 batches, 2 held no window that counts" in caplog.text
    folder = job.folder
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "checkpoint", "checkpoint_best", "evaluation.npz", "metrics.parquet", "pretrained.parquet",
        "run.json",
    }  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["arm"] == "bc_wins"
    assert record["config"]["ablation_win_threshold"] == 1e6
    metrics = pl.read_parquet(folder / "metrics.parquet")
    assert metrics["train/empty_batches"].to_list() == [1.0, 1.0]
    # Before and after are the same worlds as in every evaluation of the run.
    before = pl.read_parquet(folder / "pretrained.parquet").to_dicts()[0]
    worlds = jax.random.split(job.key(config.seed))[1]
    val_env = make_batch_env(config.env, config.eval_num_envs)
    play = jax.jit(lambda params: evaluate(problem_of(), val_env, worlds, params))
    assert before["val/score"] == pytest.approx(float(play(pretrained())["val/score"]))
    assert set(before) == {name for name in metrics.columns if name.startswith("val/")}
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), pretrained())
    final = checkpoint.restore(folder / "checkpoint", "params", like)
    after = jax.device_get(play(final))
    assert metrics["val/score"][-1] == pytest.approx(float(after["val/score"]))
    with np.load(folder / "evaluation.npz") as arrays:
        assert {name: (x.shape, x.dtype) for name, x in arrays.items()} == {
            f"{what}_{when}": (shape, dtype)
            for when in ("before", "after")
            for what, shape, dtype in (
                ("counts", (4,), np.int32),
                ("bigrams", (4, 4), np.int32),
                ("return", (8,), np.float32),
            )
        }
        assert metrics["val/first_return"][-1] == pytest.approx(float(arrays["return_after"].mean()))
        assert arrays["counts_after"].tolist() == after["actions/counts"].tolist()
        assert arrays["bigrams_before"].sum() > 0
    assert read_metadata(folder / "checkpoint")["network"] == NETWORK


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"kind": "expert"}, "its kind is expert, but planner is needed"),
        (
            {"env_name": "Craftax-Symbolic-v1"},
            f"its env_name is Craftax-Symbolic-v1, but {CLASSIC} is needed",
        ),
        ({"d_ff": 32}, "ffn_in"),
        ({"obs_dim": GAME.obs_dim + 1}, "obs_encoder"),
    ],
)
def test_another_checkpoint_is_refused_before_anything_is_compiled(
    saved, message, make_run, planner, toy_game, monkeypatch
):
    monkeypatch.setattr("remdm.stages.ablations.make_finetuning", None)
    with pytest.raises(UserError) as raised:
        run_ablations(config_of(checkpoint_path=planner(**saved)), make_run("ablations"))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"num_steps": 18}, "num_steps = 18: must be a multiple of the planner's plan_horizon = 4"),
        ({"ablation_eval_replan": 5}, "ablation_eval_replan = 5: at most the planner's plan_horizon = 4"),
        ({"ablation_batch_size": 105, "ablation_replay_size": 105}, "at most the 104 windows of a rollout"),
    ],
)
def test_rollouts_fit_the_planners_plans(keys, message, make_run, planner, toy_game):
    with pytest.raises(UserError, match=message):
        run_ablations(config_of(checkpoint_path=planner(), **keys), make_run("ablations"))


def test_contradictions_are_named():
    for keys, message in (
        ({"arm": "kl_penalyt"}, r"arm = 'kl_penalyt': no arm of that name \(did you mean kl_penalty\?\)"),
        ({"ablation_cka_batch": 65}, "ablation_cka_batch = 65: at most ablation_batch_size = 64"),
        ({"ablation_replay_size": 63}, "ablation_replay_size = 63: must be at least ablation_batch_size"),
        ({"ablation_diffusion_steps": 2}, "ablation_diffusion_steps = 2: the loop has three phases"),
    ):
        with pytest.raises(UserError, match=message):
            config_of(**keys)


# --- the command ---


def command(*arguments, capsys):
    status = cli.main(["ablations", *arguments])
    return status, capsys.readouterr()


def test_the_arms_are_listed(capsys):
    status, captured = command("--list", capsys=capsys)
    assert status == 0
    for entry in ARMS:
        assert f"{entry.name} " in captured.out
        assert entry.tests in captured.out
    assert all(f"{letter}: {title}" in captured.out for letter, title in GROUPS.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arm", "lora_"], "arm = 'lora_': no arm of that name (did you mean lora "),
        (["--group", "E"], "--group E: not among A, B, C, D"),
        (["--group", "A", "--arm", "lora"], "--group A: --arm lora already names the arm"),
        (["--arms", "ewc", "llrd", "--arm", "lora"], "--arms ewc llrd: --arm lora already names the arm"),
        (["--arms", "ewc", "--group", "A"], "--group A: --arms already names the arms"),
        (["--ablations", "ewc", "lora_"], "--arms lora_: no arm of that name (did you mean lora "),
        (["--num-seeds", "0"], "--num_seeds 0: must be a number from 1 to 1000"),
        (["--analyze-only", "--output", "out"], "--analyze_only: out has no finished run of an arm"),
        (["--fast", "--config", "demo"], "--fast: is --config ablations_fast, but --config demo is given"),
        (["--group", "A"], "checkpoint_path = null"),
        ([], "checkpoint_path = null"),
    ],
)
def test_what_cannot_run_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, captured = command(*arguments, capsys=capsys)
    assert status == 2
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Stands for training and for the report: what ran, which arms fail and how, and what was reported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("remdm.stages.session.prepare_jax", lambda runtime: None)
    monkeypatch.setattr("remdm.commands.stage._draw", lambda mode, config, folder: None)
    seen = SimpleNamespace(ran=[], fails={}, reported=[])
    report = "remdm.analysis.ablations.report.write_ablations"
    monkeypatch.setattr(report, lambda runs, folder: seen.reported.append((runs, folder)))

    def run_ablations(config, job):
        seen.ran.append((config.arm, config.seed, config.ablation_iterations))
        if config.arm in seen.fails:
            raise seen.fails[config.arm]
        job.folder.mkdir(parents=True)
        (job.folder / "run.json").write_text(json.dumps({"digest": job.digest}))

    monkeypatch.setattr("remdm.stages.ablations.run_ablations", run_ablations)
    return seen


@pytest.mark.parametrize(("error", "status"), [(UserError("diverged"), 2), (RuntimeError("bug"), 1)])
def test_a_failing_arm_does_not_stop_the_rest(error, status, capsys, tmp_path, planner, suite):
    suite.fails["lora"] = error
    arguments = ["--group", "A", "--fast", "--checkpoint_path", planner(), "--output", "out", "--seed", "5"]
    with pytest.raises(SystemExit) as stopped:
        command(*arguments, capsys=capsys)
    assert stopped.value.code == status
    names = [entry.name for entry in ARMS if entry.group == "A"]
    # The one that failed is reported as missing.
    assert suite.reported == [([f"out/{name}/s5" for name in names], Path("out"))]
    assert "of 6 arms, 1 failed: lora" in capsys.readouterr().err
    assert suite.ran == [(name, 5, 50) for name in names]
    done = {path.parent.parent.name for path in (tmp_path / "out").rglob("run.json")}
    assert done == set(names) - {"lora"}
    # Again: only what failed runs, and now nothing is left.
    suite.ran.clear()
    suite.fails.clear()
    assert command(*arguments, capsys=capsys)[0] == 0
    assert suite.ran == [("lora", 5, 50)]


def test_some_arms_run_with_some_seeds_and_are_reported_again_without_training(capsys, planner, suite):
    chosen = ["--ablations", "lora", "ewc", "--num-seeds", "2", "--seed", "5", "--fast"]
    assert command(*chosen, "--checkpoint", planner(), "--output", "out", capsys=capsys)[0] == 0
    assert [run[:2] for run in suite.ran] == [("lora", 5), ("ewc", 5), ("lora", 6), ("ewc", 6)]
    runs = ["out/lora/s5", "out/ewc/s5", "out/lora/s6", "out/ewc/s6"]
    assert suite.reported == [(runs, Path("out"))]
    suite.ran.clear()
    assert command("--analyze-only", "--output", "out", capsys=capsys)[0] == 0
    assert suite.ran == []
    assert suite.reported[1] == (sorted(runs), Path("out"))


# --- the workflow ---


@pytest.fixture
def copy(package):
    """A copy of the package whose files can be edited; returns a function that digests every arm anew."""
    folder, forget = package

    def take():
        forget()
        return {e.name: stage_origin("ablations", config_of(arm=e.name), {"x": "y"}).digest for e in ARMS}

    return folder, take


def test_a_new_arm_makes_no_old_one_stale(copy):
    package, take = copy
    before = take()
    assert len(set(before.values())) == 25
    new = (package / "ablations" / "arms" / "low_t.py").read_text()
    (package / "ablations" / "arms" / "high_t.py").write_text(new.replace("LOW_TIMES", "ALL_TIMES"))
    (package / "ablations" / "high.py").write_text("X = 1\n")
    arms = package / "config" / "arms.py"
    entry = '    ArmEntry("high_t", "B", "t-bias", "gradients at high t are fine"),\n)'
    arms.write_text(arms.read_text().removesuffix(")\n") + entry + "\n")
    assert take() == before


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("arms/low_t", {"low_t"}),
        ("arms/lora", {"lora"}),
        ("arms/ewc", {"ewc"}),
        ("advantage", {"normalized_adv", "running_stats"}),
        ("finetuning", {entry.name for entry in ARMS}),
        ("diagnostics", {entry.name for entry in ARMS}),
    ],
)
def test_code_makes_stale_the_arms_that_reach_it(copy, module, stale):
    package, take = copy
    before = take()
    path = package / "ablations" / f"{module}.py"
    path.write_text(path.read_text() + "\nX = 1\n")
    after = take()
    assert {name for name in before if before[name] != after[name]} == stale


def test_keys_of_an_arm_make_no_other_stale():
    def digest(arm, **keys):
        return stage_origin("ablations", config_of(arm=arm, **keys), {"x": "y"}).digest

    for key, arm in {
        "ablation_replay_size": "mixed_replay",
        "ablation_fisher_batches": "ewc",
        "ablation_reward_model_steps": "reward_model",
    }.items():
        assert digest(arm, **{key: 999}) != digest(arm)
        assert digest("baseline_rl", **{key: 999}) == digest("baseline_rl")


def scale_with(ablations):
    scales = read_mapping(WORKFLOW)["scales"]
    scales["demo"]["ablations"] = ablations
    return Plan.load(WORKFLOW, {"scales": scales})


ENTRY = {"planner": "offline-demo", "preset": "ablations_demo"}


def test_every_arm_and_seed_is_a_job_that_starts_from_the_planner():
    plan = Plan.load(WORKFLOW, {})
    jobs = plan.catalogue.of("ablations")
    assert {job.name for job in jobs} > {"baseline_rl"}
    groups = {entry.name: entry.group for entry in ARMS}
    assert {groups[job.name] for job in jobs} == {"-", *GROUPS}
    for job in jobs:
        assert plan.dependencies(job) == {"checkpoint_path": Job(CLASSIC, "offline", "demo", 0)}
        assert plan.configs[job].arm == job.name
        assert plan.origin_of(job).config["arm"] == job.name
    paper = Plan.load(WORKFLOW, {"scale": "paper"})
    assert len(paper.catalogue.of("ablations")) == 25 * 3 * 2
    assert Plan.load(WORKFLOW, {"scale": "demo_full"}).catalogue.of("ablations") == []


def test_a_scale_names_arms_groups_or_neither():
    assert AblationsEntry(**ENTRY).names == [entry.name for entry in ARMS]
    assert AblationsEntry(**ENTRY, arms=["lora"]).names == ["baseline_rl", "lora"]
    names = AblationsEntry(**ENTRY, groups=["D"]).names
    assert names == ["baseline_rl", "reward_filtering", "running_stats", "action_diversity", "reward_model"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"arms": ["lorra"]}, r"no arm is called lorra \(did you mean lora\?\)"),
        ({"groups": ["E"]}, "groups: E is not among A, B, C, D"),
        ({"groups": ["A"], "arms": ["lora"]}, "arms already names the arms"),
        (
            {"planner": "offline-dem"},
            r"planner = offline-dem: not among .*mean offline-demo",
        ),
        ({"preset": "ablations_demoo"}, "did you mean ablations_demo"),
        ({"preset": "ablations_final_craftax_ucl"}, "env_name = Craftax-Symbolic-v1: but the job plays"),
    ],
)
def test_a_wrong_suite_is_named_before_the_first_job(keys, message):
    with pytest.raises(UserError, match=message):
        scale_with([{**ENTRY, **keys}])


def test_rollouts_that_do_not_fit_are_named_before_the_first_job():
    scales = read_mapping(WORKFLOW)["scales"]
    scales["demo"]["overrides"] = {"ablation_eval_replan": 16}
    with pytest.raises(UserError, match=r"demo\.ablations: ablation_eval_replan = 16: at most the planner's"):
        Plan.load(WORKFLOW, {"scales": scales})


def test_what_is_trained_is_named_as_the_network_names_it():
    assert {name.split("/")[0] for name in named(pretrained())} == LAYERS
