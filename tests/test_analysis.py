"""Statistics, tables, figures and the report, from files written here."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from remdm.analysis.achievements import draw_achievements
from remdm.analysis.curves import draw_curves
from remdm.analysis.learning import draw_learning_curves
from remdm.analysis.report import write_report
from remdm.analysis.results import Result, smooth
from remdm.analysis.returns import draw_returns
from remdm.analysis.style import colour, label
from remdm.analysis.table import policy_table, write_table
from remdm.evaluation.episodes import Episodes
from remdm.evaluation.statistics import mean_interval, summarise

GAME = "Craftax-Classic-Symbolic-v1"


def episodes(mean, count=200, seed=0):
    rng = np.random.default_rng(seed)
    unlocked = rng.random((count, 2)) < [0.9, 0.0]
    return Episodes(np.zeros(count, int), rng.normal(mean, 1.0, count), rng.integers(50, 90, count), unlocked)


@pytest.fixture
def results(tmp_path):
    """A finished pipeline's result files; returns the files of trainings and of evaluations."""
    run = {
        "wall_seconds": 90.0, "frames_per_second": 1234.5, "peak_memory_mb": 900, "compile_seconds": 20.0,
        "git_commit": "0123456789abcdef", "digest": "feed", "packages": {"jax": "0.10", "craftax": "1.6"},
        "device": {"count": 1, "kind": "cpu"}, "cpus": 2,
        "config": {"ppo_model_type": "ppo_rnn", "layer_size": 48, "env_name": GAME}, "seed": 0,
    }  # fmt: skip
    trainings, evaluations = [], []
    frames = np.arange(1, 41) * 1000
    for stage, name in (("ppo", "ppo_rnn"), ("offline", "demo"), ("online", "demo")):
        folder = tmp_path / GAME / stage / name / "s0"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run | {"stage": stage}))
        metrics = {"update": range(1, 41), "frames": frames, "env/episode_return": np.linspace(1, 8, 40)}
        if stage != "ppo":
            metrics["diffusion/accuracy"] = np.linspace(0.1, 0.5, 40)
            metrics["val/score"] = [float(i) if i % 10 == 9 else None for i in range(40)]
        pl.DataFrame(metrics).write_parquet(folder / "metrics.parquet")
        trainings.append(str(folder / "run.json"))
    for name, mean in (("ppo_rnn", 8.0), ("offline-demo", 5.0), ("online-demo", 6.0), ("random", 1.5)):
        folder = tmp_path / GAME / "inference" / name / "s0"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run | {"stage": "inference"}))
        summary = summarise(episodes(mean), ("collect_wood", "collect_diamond"))
        (folder / "summary.json").write_text(json.dumps(summary))
        evaluations.append(str(folder / "summary.json"))
    return trainings, evaluations


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    """400 samples of 50 skewed values: 95 % less a little, as the percentile bootstrap is known to."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(400):
        low, high = mean_interval(rng.exponential(1.0, 50), seed)
        covered += low <= 1.0 <= high
    # Standard error 1.1 % at 95 %; four of them, and 2 % for the skewness at this size.
    assert 0.885 <= covered / 400 <= 0.99


def test_interval_of_a_constant_has_no_width():
    assert mean_interval(np.full(9, 3.0)) == (3.0, 3.0)
    assert mean_interval(np.array([2.0])) == (2.0, 2.0)


def test_summary_by_hand():
    result = summarise(
        Episodes(np.zeros(2), np.array([1.0, 3.0]), np.array([10, 20]), np.array([[1, 0], [1, 1]], bool)),
        ("a", "b"),
    )
    assert result["episodes"] == 2
    assert result["return"]["mean"] == 2.0
    assert result["return"]["std"] == 1.0
    assert result["length"]["mean"] == 15.0
    assert result["achievements"]["a"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert result["achievements"]["b"]["mean"] == 0.5
    assert result["achievements_per_episode"]["mean"] == 1.5


def test_table_compares_with_the_expert(results, tmp_path):
    table = policy_table(results[1])
    assert table["policy"].to_list() == ["Expert (ppo_rnn)", "Offline BC (demo)", "DAgger (demo)", "Random"]
    share = table["share_of_expert"].to_list()
    assert share[0] == 1.0
    assert share[1] == pytest.approx(table["return"][1] / table["return"][0])
    assert table["share_of_maximum"][0] == pytest.approx(table["return"][0] / 22)
    assert ((table["low"] < table["return"]) & (table["return"] < table["high"])).all()
    write_table(results[1], tmp_path / "tables" / "policies.csv")
    assert pl.read_csv(tmp_path / "tables" / "policies.csv").height == 4


def test_several_seeds_are_averaged(results, tmp_path):
    folder = tmp_path / GAME / "inference" / "random" / "s1"
    folder.mkdir()
    shutil.copy(folder.parent / "s0" / "run.json", folder)
    summary = summarise(episodes(3.5, seed=1), ("collect_wood", "collect_diamond"))
    (folder / "summary.json").write_text(json.dumps(summary))
    row = policy_table([*results[1], str(folder / "summary.json")]).row(3, named=True)
    means = sorted(
        [Result(folder).summary["return"]["mean"], Result(folder.parent / "s0").summary["return"]["mean"]]
    )
    assert row["seeds"] == 2
    assert row["return"] == pytest.approx(np.mean(means))
    assert (row["low"], row["high"]) == pytest.approx(tuple(means))


def test_figures_and_report_are_made_of_files_alone(results, tmp_path):
    trainings, evaluations = results
    draw_returns(evaluations, tmp_path / "figures" / "returns.png")
    draw_achievements(evaluations, tmp_path / "figures" / "achievements.png")
    draw_learning_curves(trainings, tmp_path / "figures" / "learning.png")
    draw_curves(
        Result(tmp_path / GAME / "offline" / "demo" / "s0").folder, tmp_path / "figures" / "curves.png"
    )
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path

    write_report(trainings, evaluations, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for text in (
        "Expert (ppo_rnn)",
        "Offline BC (demo)",
        "DAgger (demo)",
        "Random",
        "about 19 of 22",
        "48 wide",
        "0123456789",
    ):
        assert text in page
    # It opens without a network: all that it shows lies beside it.
    shown = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert shown == ["figures/returns.png", "figures/achievements.png", "figures/learning.png"]
    assert all((tmp_path / path).exists() for path in shown)


def test_names_and_colours_of_policies():
    assert label("offline-final_classic_ucl") == "Offline BC (final_classic_ucl)"
    assert label("random") == "Random"
    assert label("ppo_rnn") == "Expert (ppo_rnn)"
    assert len({colour(policy) for policy in ("offline-x", "online-x", "random", "ppo_rnn")}) == 4


def test_smooth_keeps_constants_and_length():
    assert smooth(np.full(10, 2.0), 4).tolist() == [2.0] * 10
    assert smooth(np.arange(5.0), 1).tolist() == [0, 1, 2, 3, 4]
    assert smooth(np.arange(5.0), 3)[2] == 2.0
