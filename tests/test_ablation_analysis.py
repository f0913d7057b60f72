"""The analysis of the ablation suite, on runs written here with scores chosen so that answers are known."""

import json
import shutil
from itertools import permutations

import numpy as np
import polars as pl
import pytest

from remdm.analysis.ablations.actions import (
    NAMES,
    entropy,
    gini,
    jensen_shannon,
    kl,
    total_variation,
    transitions,
)
from remdm.analysis.ablations.conclusions import conclude
from remdm.analysis.ablations.decision import decide
from remdm.analysis.ablations.drawing import arm_look
from remdm.analysis.ablations.hypotheses import SUGGESTED, SUPPORTED, UNMEASURED, judge, trend
from remdm.analysis.ablations.published import mismatch
from remdm.analysis.ablations.report import FIGURES, write_ablations
from remdm.analysis.ablations.runs import SCORE, read_suite
from remdm.analysis.ablations.scores import draw_group_scores
from remdm.analysis.ablations.standing import collapse_of, stand, verdict
from remdm.analysis.ablations.tables import groups, write_tables
from remdm.analysis.seeds import mean_curve
from remdm.analysis.statistics import ENUMERATED, attainable_floor, count_labellings, p_values
from remdm.analysis.style import MAP
from remdm.base.errors import ConfigError, UserError
from remdm.base.estimates import Estimate
from remdm.config.arms import ARMS, BASELINE, GROUPS, HYPOTHESES

GAME = "Craftax-Classic-Symbolic-v1"
CONFIG = {
    "env_name": GAME, "num_envs": 64, "num_steps": 128, "ablation_iterations": 40, "ablation_batch_size": 100,
    "lr": 3e-4, "num_repeats": 1,
}  # fmt: skip
LAYERS = ("obs_encoder", "time_embedding", "token_embedding", "blocks_0", "blocks_1", "final_norm", "head")
ACHIEVEMENTS = ("collect_wood", "place_table", "collect_stone", "collect_diamond")
UPDATES = 40


def write_run(
    root, arm, seed, final=8.0, start=10.0, values=None, counts=None, rates=None, noise=0.0, **keys
):
    """A finished run that goes from `start` to `final` in a straight line; evaluated every 10 updates.

    Args:
        values: metrics by name, a number or a list with a value for each update.
        counts: of actions after; before, all are played equally.
        rates: of the achievements at the end; before, they are 0.9, 0.6, 0.3 and 0.
        noise: of the returns after, in each world.
    """
    folder = root / arm / f"s{seed}"
    folder.mkdir(parents=True)
    config = CONFIG | {"arm": arm, "seed": seed, "checkpoint_path": f"planner/s{seed}"} | keys
    run = {
        "stage": "ablations",
        "config": config,
        "seed": seed,
        "digest": arm,
        "git_commit": "0123456789abcdef",
    }
    (folder / "run.json").write_text(json.dumps(run))
    due = [update % 10 == 0 for update in range(1, UPDATES + 1)]
    progress = np.arange(1, UPDATES + 1) / UPDATES
    before = np.array([0.9, 0.6, 0.3, 0.0])
    after = before if rates is None else np.array(rates)

    def at(values):
        return [float(value) if is_due else None for value, is_due in zip(values, due, strict=True)]

    metrics = {
        "update": range(1, UPDATES + 1), "frames": np.arange(1, UPDATES + 1) * 8192,
        "diffusion/loss": np.exp(-progress), "diffusion/grad_norm": np.ones(UPDATES),
        "train/window_return": np.full(UPDATES, 1.0), "train/win_rate": np.full(UPDATES, 0.5),
        "train/effective_batch": np.full(UPDATES, 80.0), "train/weight_mean": np.ones(UPDATES),
        "train/empty_batches": np.zeros(UPDATES), "train/action_entropy": np.full(UPDATES, 2.0),
        "train/distinct_actions": np.full(UPDATES, 17.0), "val/episode_length": at(200 - 50 * progress),
        SCORE: at(start + (final - start) * progress),
        "diag/gradient_cosine": at(0.9 - 0.1 * progress), "diag/rl_grad_norm": at(1 + progress),
        "diag/bc_grad_norm": at(1 - 0.5 * progress), "diag/cka": at(1 - 0.01 * progress),
        "diag/kl": at(0.01 * progress), "diag/kl_low_t": at(0.01 * progress),
        "diag/kl_mid_t": at(0.01 * progress), "diag/kl_high_t": at(0.01 * progress),
        "diag/t_low_grad_norm": at(1 + progress), "diag/t_high_grad_norm": at(1 + progress),
        "diag/t_low_high_cosine": at(0.5 * progress), "diag/pcgrad_removed_share": at(0.01 * progress),
        "diag/pcgrad_conflicting_tensors": at(2 * progress),
    }  # fmt: skip
    for k, layer in enumerate(LAYERS):
        metrics[f"diag/layer_grad_norm/{layer}"] = at(progress * 10.0 ** (k - 4))
        metrics[f"diag/layer_cosine/{layer}"] = at(np.full(UPDATES, 0.9 - 0.2 * k))
    for k in range(10):
        metrics[f"diag/t_bin_grad_norm/{k}"] = at(np.full(UPDATES, 1.0 + 0.05 * k))
    for name, low, high in zip(ACHIEVEMENTS, before, after, strict=True):
        metrics[f"val/achievement/{name}"] = at(low + (high - low) * progress)
    for name, value in (values or {}).items():
        metrics[name] = value if np.ndim(value) else at(np.full(UPDATES, value))
    pl.DataFrame(metrics).write_parquet(folder / "metrics.parquet")
    row = {SCORE: start, "val/episode_length": 200.0}
    row |= {f"val/achievement/{name}": rate for name, rate in zip(ACHIEVEMENTS, before, strict=True)}
    pl.DataFrame([row]).write_parquet(folder / "pretrained.parquet")
    played = np.full(17, 100) if counts is None else np.array(counts)
    worlds = np.random.default_rng(seed).normal(scale=3.0, size=64)
    worlds -= worlds.mean()
    np.savez(
        folder / "evaluation.npz",
        counts_before=np.full(17, 100), bigrams_before=np.full((17, 17), 10),
        counts_after=played, bigrams_after=np.outer(played, played),
        return_before=start + worlds, return_after=final + worlds + noise,
    )  # fmt: skip
    return str(folder)


def suite_of(root, scores, **keys):
    """Folders of arms with the scores of their seeds."""
    return [
        write_run(root, arm, seed, final, **keys)
        for arm, finals in scores.items()
        for seed, final in enumerate(finals)
    ]


# --- arms -------------------------------------------------------------------------------------------------


def test_the_registry_has_the_25_arms():
    assert len({entry.name for entry in ARMS}) == 25
    assert ARMS[0].name == BASELINE
    assert [entry.group for entry in ARMS].count("-") == 1
    assert {entry.group for entry in ARMS[1:]} == set(GROUPS)
    assert {entry.hypothesis for entry in ARMS[1:]} == set(HYPOTHESES)
    assert [sum(entry.group == letter for entry in ARMS) for letter in GROUPS] == [6, 7, 7, 4]


# --- statistics -------------------------------------------------------------------------------------------


def test_verdicts_at_their_thresholds():
    # Scale 10: more than 0.5 better, more than 1 worse; the limits themselves are neutral.
    assert [verdict(Estimate(d, d, d), 10.0) for d in (0.51, 0.5, 0.0, -1.0, -1.01)] == [
        "IMPROVEMENT", "NEUTRAL", "NEUTRAL", "NEUTRAL", "COLLAPSE",
    ]  # fmt: skip
    assert verdict(Estimate(5.0, 5.0, 5.0), 0.0) == "NEUTRAL"  # no scale


@pytest.mark.parametrize(
    ("value", "reach"), [(0.6, 0.2), (-1.2, 0.3), (0.0, 0.6), (-0.5, 0.6), (2.0, np.nan)]
)
def test_an_interval_that_crosses_a_threshold_decides_nothing(value, reach):
    assert verdict(Estimate(value, value - reach, value + reach), 10.0) == "UNDECIDED"


def test_floor_is_two_over_the_number_of_splits():
    assert attainable_floor(3, 3) == pytest.approx(2 / 20)
    assert attainable_floor(5, 5) == pytest.approx(2 / 252)
    assert attainable_floor(1, 3) == 0.5
    assert attainable_floor(1, 1) == 1.0  # one seed shows nothing


def test_permutation_by_hand():
    # {1, 2} against {3, 4}: 6 splits, differences 2, 1, 0, 0, -1, -2; two are as large as 2 in size.
    assert p_values({"a": np.array([3.0, 4.0])}, np.array([1.0, 2.0])) == {"a": pytest.approx(2 / 6)}
    # {1, 3} against {2, 4}: a difference of 1, which four of the six reach.
    assert p_values({"a": np.array([2.0, 4.0])}, np.array([1.0, 3.0])) == {"a": pytest.approx(4 / 6)}
    # Three seeds apart from three reach the floor of 0.1, and no less.
    assert p_values({"a": np.array([4.0, 5, 6])}, np.array([1.0, 2, 3])) == {"a": pytest.approx(0.1)}


def test_an_arm_that_was_picked_pays_for_it():
    # Two arms of one seed against one: {0}, {2}, {9}. The floor of one seed is 1, so neither shows anything.
    assert p_values({"a": np.array([2.0]), "b": np.array([9.0])}, np.array([0.0])) == {"a": 1.0, "b": 1.0}
    # Two seeds each: 6! / (2! 2! 2!) = 90 labellings. In 4 of them the largest difference reaches b's: an
    # arm and the baseline hold {0, 0.5} and {9, 9.5}: p = 4 / 90, less than the 2 / 6 its own seeds can show.
    arms = {"a": np.array([1.0, 2.0]), "b": np.array([9.0, 9.5])}
    assert count_labellings([2, 2, 2]) == 90
    found = p_values(arms, np.array([0.0, 0.5]))
    assert found["b"] == pytest.approx(2 / 6)
    # a steps down: b's scores are left out, and 2 / 6 is what is left of it.
    assert found["a"] == pytest.approx(2 / 6)
    # {3, 4} against {1, 2} is as striking as it gets, until {0, 5} is looked at too.
    largest = [
        max(abs(x[0] + x[1] - x[2] - x[3]), abs(x[0] + x[1] - x[4] - x[5])) for x in permutations(range(6))
    ]
    share = np.mean(np.array(largest) >= 4)
    assert share > 2 / 6
    found = p_values({"a": np.array([0.0, 5.0]), "b": np.array([3.0, 4.0])}, np.array([1.0, 2.0]))
    assert found["b"] == pytest.approx(share)
    assert found["a"] >= found["b"]


def test_drawn_labellings_count_the_observed_one():
    far = np.arange(12.0)
    assert p_values({"a": far + 100}, far) == {"a": pytest.approx(1 / (1 + ENUMERATED))}


def test_what_differs_widely_hides_nothing_else():
    """Beside 5 arms that collapse by 100, one that is 3 better with 5 seeds stands out as much as alone."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (7, 5))
    arms = {f"collapsed{k}": noise[k] - 100 for k in range(5)} | {"better": noise[5] + 3}
    found = p_values(arms, noise[6])
    assert found["better"] == pytest.approx(attainable_floor(5, 5))


@pytest.mark.parametrize(("seeds", "arms"), [(3, 1), (3, 8), (4, 5)])
def test_the_test_rejects_no_oftener_than_it_says(seeds, arms, monkeypatch):
    """Size under the null, skewed scores: in a share of at most a of 400 draws, the smallest p is <= a."""
    monkeypatch.setattr("remdm.analysis.statistics.ENUMERATED", 400)
    rng = np.random.default_rng(0)
    smallest = []
    for k in range(400):
        scores = rng.exponential(1.0, (1 + arms, seeds))
        smallest.append(min(p_values(dict(enumerate(scores[1:])), scores[0], k).values()))
    smallest = np.array(smallest)
    for level in (0.05, 0.1, 0.2):
        # Three standard errors of a share of 400.
        assert (smallest <= level + 1e-9).mean() <= level + 3 * np.sqrt(level * (1 - level) / 400), level
    if arms == 1:  # and it is not merely timid: one arm's test is exact
        assert (smallest <= 0.1 + 1e-9).mean() >= 0.1 - 3 * np.sqrt(0.09 / 400)


# --- actions ----------------------------------------------------------------------------------------------


def test_closed_forms_of_action_use():
    even, one = np.full(4, 0.25), np.array([1.0, 0, 0, 0])
    assert entropy(even) == pytest.approx(np.log(4))
    assert entropy(one) == 0
    assert gini(even) == pytest.approx(0)
    assert gini(one) == pytest.approx(3 / 4)
    assert jensen_shannon(one, one[::-1]) == pytest.approx(np.log(2))
    assert jensen_shannon(even, even) == pytest.approx(0)
    assert kl(one, even) == pytest.approx(np.log(4))
    assert total_variation(one, even) == pytest.approx(3 / 4)
    np.testing.assert_allclose(transitions(np.array([[1, 3], [0, 0]])), [[0.25, 0.75], [np.nan, np.nan]])


def test_action_names_are_the_games():
    from craftax.craftax.constants import Action
    from craftax.craftax_classic.constants import Action as ClassicAction

    assert [name.replace(" ", "_").upper() for name in NAMES] == [action.name for action in Action]
    assert [action.name for action in ClassicAction] == [action.name for action in Action][:17]


# --- reading ----------------------------------------------------------------------------------------------


def test_runs_that_differ_in_a_key_are_refused(tmp_path):
    one = write_run(tmp_path, BASELINE, 0)
    other = write_run(tmp_path, "ewc", 1, lr=1e-3, num_envs=128)
    with pytest.raises(ConfigError) as error:
        read_suite([one, other])
    message = str(error.value)
    assert "lr = 0.0003 and 0.001" in message
    assert "num_envs = 64 and 128" in message
    assert one in message
    assert other in message
    assert "seed" not in message.replace("seed again", "")
    assert "\n" not in message


def test_arms_of_a_seed_start_from_one_planner(tmp_path):
    one = write_run(tmp_path, BASELINE, 0)
    read_suite([one, write_run(tmp_path, "ewc", 1)])  # another seed has another planner
    other = write_run(tmp_path, "lora", 0, checkpoint_path="elsewhere")
    with pytest.raises(ConfigError, match="checkpoint_path = planner/s0 and elsewhere"):
        read_suite([one, other])


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *(
            (file, "truncated")
            for file in ("run.json", "metrics.parquet", "pretrained.parquet", "evaluation.npz")
        ),
        *((file, "removed") for file in ("metrics.parquet", "pretrained.parquet", "evaluation.npz")),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, file, damage):
    folders = suite_of(tmp_path, {BASELINE: [8.0], "ewc": [9.0]})
    path = tmp_path / "ewc" / "s0" / file
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    with pytest.raises(UserError) as error:
        write_ablations(folders, tmp_path / "out")
    form = "JSON" if file == "run.json" else file.split(".")[1]
    problem = "is missing" if damage == "removed" else f"is no whole {form} file"
    assert str(error.value).startswith(f"{path}: {problem}")
    assert f"delete {path.parent}" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_bad_input(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        read_suite([str(tmp_path / "ewc" / "s0")])
    with pytest.raises(UserError, match="arm = ewk: is none of baseline_rl"):
        read_suite([write_run(tmp_path, "ewk", 0)])
    first = write_run(tmp_path, BASELINE, 0)
    shutil.copytree(first, tmp_path / "copy" / "s0")
    with pytest.raises(UserError, match="are both baseline_rl, seed 0"):
        read_suite([first, str(tmp_path / "copy" / "s0")])
    (tmp_path / BASELINE / "s0" / "run.json").write_text('{"config": {"arm": "baseline_rl"}}')
    with pytest.raises(UserError, match=r"config\.env_name is missing"):
        read_suite([first])


def test_repetitions_of_one_job_are_seeds(tmp_path):
    folders = suite_of(tmp_path, {BASELINE: [8.0, 7.0]})
    for k, folder in enumerate(folders):  # r0/ and r1/ of one job, beside its run.json
        shutil.copytree(folder, tmp_path / "job" / BASELINE / "s0" / f"r{k}")
        (tmp_path / "job" / BASELINE / "s0" / f"r{k}" / "run.json").rename(
            tmp_path / "job" / BASELINE / "s0" / "run.json"
        )
    suite = read_suite([str(tmp_path / "job" / BASELINE / "s0")])
    assert sorted(suite.scores(BASELINE)) == [7.0, 8.0]
    assert len(suite.seeds) == 2


def test_an_evaluation_in_which_no_episode_ended_is_a_gap(tmp_path):
    length = "val/episode_length"
    at = [None] * UPDATES
    at[9], at[29] = 9.0, 7.0  # of the four evaluations the second and the last saw no episode end
    folder = write_run(tmp_path, BASELINE, 0, values={length: at})
    suite = read_suite([folder, write_run(tmp_path, BASELINE, 1)])
    curve = mean_curve(suite.of(BASELINE)[:1], length, "update")
    assert curve.x.tolist() == [10, 20, 30, 40]
    np.testing.assert_array_equal(curve.mean, [9.0, np.nan, 7.0, np.nan])
    # A mean over seeds is not a mean over those that happen to be there.
    both = mean_curve(suite.of(BASELINE), length, "update").mean
    np.testing.assert_array_equal(np.isnan(both), [False, True, False, True])
    assert suite.scores(BASELINE) == pytest.approx([8.0, 8.0])  # first episodes count, ended or not


# --- standings and conclusions ----------------------------------------------------------------------------


def test_standings_by_hand(tmp_path):
    scores = {
        BASELINE: [7.8, 8.0, 8.2], "kl_penalty": [9.9, 10.0, 10.1], "lora": [1.8, 2.0, 2.2],
        "low_t": [8.8, 8.0, 7.8], "ewc": [8.0, 8.1, 8.3],
    }  # fmt: skip
    folders = suite_of(tmp_path, scores)
    standings = stand(read_suite([*folders, str(tmp_path / "reward_model" / "s0")]))
    known = standings.baseline, standings.pretrained, standings.scale
    assert known == pytest.approx((8.0, 10.0, 10.0))
    assert standings.collapse == "COLLAPSE"  # -2 of 10, give or take 4.3 * 0.2 / sqrt(3) = 0.5
    row = standings["kl_penalty"]
    assert (row.score, row.std) == pytest.approx((10.0, 0.1))
    # Differences to the baseline of the same seed: 2.1, 2.0, 1.9.
    reach = 4.302653 * 0.1 / np.sqrt(3)
    assert row.to_baseline == pytest.approx((2.0, 2.0 - reach, 2.0 + reach), rel=1e-5)
    assert row.verdict == "IMPROVEMENT"
    assert row.floor == pytest.approx(0.1)
    assert standings["lora"].verdict == "COLLAPSE"
    assert standings["lora"].p == pytest.approx(0.1)
    assert standings["low_t"].verdict == "UNDECIDED"  # 1, 0 and -0.4
    assert standings["low_t"].p > 0.1
    assert standings["ewc"].verdict == "NEUTRAL"  # 0.2, 0.1, 0.1
    assert standings[BASELINE].verdict == "reference"
    assert standings[BASELINE].p is None
    assert standings["reward_model"].verdict == "missing"
    assert standings["reward_model"].score is None
    assert standings["head_only"].verdict == "not run"
    assert [s.name for s in standings.scored] == ["kl_penalty", "low_t", "ewc", "lora"]


def test_arms_are_compared_in_the_same_worlds(tmp_path):
    """Worlds scatter by 3 and the two planners by 0.1 within a world: one seed's pairs tell them apart."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=64)
    write_run(tmp_path, BASELINE, 0, 10.0)
    write_run(tmp_path, "ewc", 0, 11.0, noise=noise)
    standings = stand(read_suite([str(tmp_path / BASELINE / "s0"), str(tmp_path / "ewc" / "s0")]))
    low, high = standings["ewc"].to_baseline[1:]
    assert 0.9 < low < 1.0 < high < 1.1
    assert standings["ewc"].verdict == "IMPROVEMENT"


def test_a_collapse_is_dated_and_so_is_the_way_back(tmp_path):
    at = [None] * UPDATES
    at[9], at[19], at[29], at[39] = 9.5, 6.0, 7.0, 9.4  # the limit is 10 % below 10
    suite = read_suite([write_run(tmp_path, BASELINE, 0, 9.4, values={SCORE: at})])
    assert collapse_of(suite, stand(suite), BASELINE) == (20.0, 6.0, 20.0, True)
    at[39] = 8.0
    suite = read_suite([write_run(tmp_path / "other", BASELINE, 0, 8.0, values={SCORE: at})])
    assert collapse_of(suite, stand(suite), BASELINE).recovered is False
    suite = read_suite([write_run(tmp_path / "well", BASELINE, 0, 10.0)])
    assert collapse_of(suite, stand(suite), BASELINE) == (None, 10.0, 10.0, None)


def test_without_a_baseline_there_is_no_verdict(tmp_path):
    suite = read_suite(suite_of(tmp_path, {"ewc": [9.0, 9.0]}))
    standings = stand(suite)
    assert standings["ewc"].verdict == "no baseline"
    assert standings["ewc"].p is None
    assert standings.collapse is None
    assert not decide(suite, standings).is_whole
    assert decide(suite, standings).end == "collapse"


def collapse(root, helper, **values):
    """A collapsing baseline with some measurements, and one arm that helps."""
    counts = values.pop("counts", None)
    rates = values.pop("rates", None)
    folder = write_run(root, BASELINE, 0, 5.0, values=values, counts=counts, rates=rates)
    return read_suite([folder, write_run(root, helper, 0, 9.5)])


@pytest.mark.parametrize(
    ("hypothesis", "helper", "measured"),
    [
        ("forgetting", "ewc", {"diag/kl": 0.4, "diag/cka": 0.5, "rates": [0.1, 0.1, 0.3, 0.0]}),
        (
            "gradient conflict",
            "gradient_surgery",
            {"diag/gradient_cosine": -0.3, "diag/pcgrad_removed_share": 0.4},
        ),
        (
            "signal sparsity",
            "reward_model",
            {"train/win_rate": [0.01] * UPDATES, "train/effective_batch": [9.0] * UPDATES},
        ),
        (
            "distribution shift",
            "mixed_replay",
            {"train/window_return": np.linspace(2, 1, UPDATES), "counts": [900, *[50] * 16]},
        ),
        ("mode collapse", "entropy_bonus", {"counts": [9000, *[1] * 16]}),
        (
            "t-bias",
            "low_t",
            {
                "diag/t_low_high_cosine": -0.5,
                "diag/kl_high_t": 0.04,
                **{f"diag/t_bin_grad_norm/{k}": 5.0 for k in (7, 8, 9)},
            },
        ),
    ],
)
def test_each_hypothesis_is_found_where_its_signs_are(tmp_path, hypothesis, helper, measured):
    suite = collapse(tmp_path, helper, **measured)
    standings = stand(suite)
    first = judge(suite, standings)[0]
    assert first.hypothesis == hypothesis
    assert first.verdict == SUPPORTED
    assert first.supporting == first.measured == len(first.evidence)


def test_signs_without_an_arm_that_helps_are_a_suggestion(tmp_path):
    measured = {"diag/gradient_cosine": -0.3, "diag/pcgrad_removed_share": 0.4}
    suite = read_suite([write_run(tmp_path, BASELINE, 0, 5.0, values=measured)])
    findings = judge(suite, stand(suite))
    assert findings[0].hypothesis == "gradient conflict"
    assert findings[0].verdict == SUGGESTED
    assert (findings[0].supporting, findings[0].measured) == (3, 3)  # no arm of it was run


def test_what_was_not_measured_is_no_evidence(tmp_path):
    suite = read_suite([write_run(tmp_path, "ewc", 0)])
    assert {finding.verdict for finding in judge(suite, stand(suite))} == {UNMEASURED}


def test_trend():
    assert trend(np.array([2.0, 2, 2, 2, 1, 1, 1, 1])) == -0.5
    assert trend(np.array([3.0])) == 0


@pytest.mark.parametrize(
    ("scores", "drift", "end"),
    [
        ({BASELINE: [9.5], "ewc": [10.5]}, 0.0, "build"),
        ({BASELINE: [9.5], "ewc": [9.6]}, 0.0, "stop"),
        ({BASELINE: [5.0], "ewc": [9.5], "low_t": [9.1]}, 0.3, "constrain"),
        ({BASELINE: [5.0], "ewc": [9.1], "low_t": [9.5]}, 0.3, "change"),
        ({BASELINE: [5.0], "ewc": [6.0]}, 0.3, "stronger"),
        ({BASELINE: [5.0], "ewc": [6.0]}, 0.01, "signal"),
        ({BASELINE: [5.0]}, 0.3, "prevents"),
    ],
)
def test_the_decision_tree_ends_where_the_scores_lead(tmp_path, scores, drift, end):
    suite = read_suite(suite_of(tmp_path, scores, values={"diag/kl": drift}))
    path = decide(suite, stand(suite))
    assert path.end == end
    assert path.is_whole == (end != "prevents")


def test_published_scores_stand_beside_equal_settings_alone(tmp_path):
    same = {"num_envs": 192, "ablation_iterations": 500}
    suite = read_suite(suite_of(tmp_path / "same", {BASELINE: [8.0, 8.0, 8.0]}, **same))
    assert mismatch(suite) is None
    # What that version gives for group C is no result, and is not shown.
    standings = stand(suite)
    assert groups(suite, standings)["published"].to_list() == [8.85, 10.01, None, 10.98]
    lines = draw_group_scores(suite, standings).axes[0].lines
    drawn = [line.get_ydata()[0] for line in lines if line.get_label() != "published (early version)"]
    assert sorted({8.85, 10.01, 2.78, 10.98}.intersection(drawn)) == [8.85, 10.01, 10.98]
    two = read_suite(suite_of(tmp_path / "two", {BASELINE: [8.0, 8.0]}, **same))
    assert mismatch(two) == "seeds of baseline_rl = 2, not 3"
    small = read_suite(suite_of(tmp_path / "small", {BASELINE: [8.0, 8.0, 8.0]}))
    assert mismatch(small) == "num_envs = 64, not 192, ablation_iterations = 40, not 500"


# --- files ------------------------------------------------------------------------------------------------


def written(folders, out):
    """The report's text; tables are written, figures are not."""
    suite = read_suite(folders)
    standings = stand(suite)
    findings = judge(suite, standings)
    write_tables(suite, standings, findings, out / "tables")
    captions = {name: caption for name, (_, caption) in FIGURES.items()}
    return conclude(suite, standings, findings, out / "tables", captions)


def table(out, name):
    return pl.read_csv(out / "tables" / f"{name}.csv")


@pytest.mark.slow
def test_everything_is_written_from_files_alone(tmp_path):
    scores = {BASELINE: [7.75, 8.0, 8.25], "kl_penalty": [9.75, 10.0, 10.25], "lora": [1.75, 2.0, 2.25]}
    folders = suite_of(tmp_path, scores)
    out = tmp_path / "out"
    write_ablations([*folders, str(tmp_path / "ewc" / "s0")], out)
    for name in FIGURES:
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    for path in (out / "tables").glob("*.csv"):
        assert path.with_suffix(".tex").is_file()
        assert path.with_suffix(".md").is_file()

    results = table(out, "results")
    assert results["arm"].to_list() == [entry.name for entry in ARMS]
    row = results.row(by_predicate=pl.col("arm") == "kl_penalty", named=True)
    assert (row["score"], row["std"], row["to_baseline"]) == pytest.approx((10.0, 0.25, 2.0))
    assert row["verdict"] == "IMPROVEMENT"
    row = results.row(by_predicate=pl.col("arm") == "ewc", named=True)
    assert (row["score"], row["verdict"]) == (None, "missing")

    by_group = table(out, "groups")
    row = by_group.row(by_predicate=pl.col("group") == "A", named=True)
    assert (row["score"], row["best"], row["worst"]) == (pytest.approx(6.0), "kl_penalty", "lora")
    assert (row["IMPROVEMENT"], row["NEUTRAL"], row["COLLAPSE"], row["without_score"]) == (1, 0, 1, 4)
    assert by_group.filter(pl.col("group") == "B")["score"].to_list() == [None]
    assert table(out, "achievements").filter(pl.col("arm") == "lora").height == len(ACHIEVEMENTS)
    assert table(out, "achievements").filter(pl.col("arm") == "ewc")["final"].to_list() == [None]

    text = (out / "report.md").read_text()
    assert "**Missing** (failed or not finished): ewc s0" in text
    assert "**No arm can reach p < 0.05 with these seeds**: the floor is 0.1." in text
    assert "Collapse" in text
    assert "Published scores are not shown" in text
    for name in FIGURES:
        assert f"figures/{name}.png" in text


def test_one_seed_shows_no_significance_and_the_report_says_so(tmp_path):
    text = written(suite_of(tmp_path, {BASELINE: [8.0], "ewc": [20.0]}), tmp_path / "out")
    results = table(tmp_path / "out", "results")
    row = results.row(by_predicate=pl.col("arm") == "ewc", named=True)
    assert (row["p"], row["p_floor"], row["std"]) == (1.0, 1.0, None)
    assert "**One seed can show no significance**" in text


@pytest.mark.slow
def test_a_suite_without_baseline_or_diagnostics_is_still_drawn(tmp_path):
    """No achievements, no diagnostics, no actions played: gaps, no failure."""
    folders = suite_of(tmp_path, {"ewc": [9.0], "lora": [3.0]})
    for folder in map(tmp_path.__class__, folders):
        bare = pl.read_parquet(folder / "metrics.parquet").select("update", "frames", "diffusion/loss", SCORE)
        bare.write_parquet(folder / "metrics.parquet")
        pl.DataFrame([{SCORE: 1.0}]).write_parquet(folder / "pretrained.parquet")
        zeros = {name: 0 * array for name, array in np.load(folder / "evaluation.npz").items()}
        np.savez(folder / "evaluation.npz", **zeros)
    write_ablations(folders, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "**Unknown**: baseline_rl has no score" in text
    assert table(tmp_path / "out", "results")["verdict"].to_list().count("no baseline") == 2


def test_planners_that_differ_between_arms_of_a_seed_are_noted(tmp_path):
    folders = [write_run(tmp_path, BASELINE, 0), write_run(tmp_path, "ewc", 0, start=9.0)]
    text = written(folders, tmp_path / "out")
    assert "The pretrained planner's score differs between arms of seed 0" in text


# --- looks ------------------------------------------------------------------------------------------------


def test_arms_of_a_group_are_told_apart_without_colour():
    for letter in GROUPS:
        looks = [arm_look(entry.name) for entry in ARMS if entry.group == letter]
        assert len({(str(look.line), look.marker) for look in looks}) == len(looks)


def test_maps_read_in_grey():
    red, green, blue, _ = MAP(np.linspace(0, 1, 50)).T
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert (np.diff(luminance) > 0).all()
