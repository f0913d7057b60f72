"""The figure of a grid: what each value of a searched key came to."""

import pytest

from remdm.analysis import grid
from remdm.config.workflow import PlannerEntry
from tests.test_analysis import GAME, Results
from tests.test_workflow import OFFLINE, with_planners

SEARCH = {"lr": [1e-3, 4e-3], "collect_temperature": [0.5, 1.0]}


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


def play(results, entry, config, seed, value, suffix=""):
    """A planner's training and evaluation, all of whose episodes return the same but for one."""
    name = entry.name + suffix
    results.train(GAME, "offline", name, seed, config={"env_name": GAME, **config, **entry.overrides})
    results.evaluate(GAME, f"offline-{name}", seed, [value - 1, *[value] * 8, value + 1])


def drawn(monkeypatch, results, tmp_path):
    """The lines of each panel: title, key and label, and the points of a line by value."""
    kept = []
    monkeypatch.setattr(grid, "publish", lambda figure, path, caption: kept.append((figure, caption)))
    grid.draw([*results.trainings, *results.evaluations], tmp_path / "grid")
    [(figure, caption)] = kept
    panels = {}
    for ax in figure.axes:
        ticks = [text.get_text() for text in ax.get_xticklabels()]
        for bars in ax.containers:
            points = {ticks[round(x)]: round(float(y), 6) for x, y in bars.lines[0].get_xydata()}
            label = "" if bars.get_label().startswith("_") else bars.get_label()  # matplotlib's own
            panels[ax.get_title(loc="left"), ax.get_xlabel(), label] = points
    return panels, caption


def test_each_key_has_a_panel_and_each_value_of_the_others_a_line(results, tmp_path, monkeypatch):
    preset = {"lr": 2e-3, "collect_temperature": 1.0, "temperature": 0.5}
    entries = PlannerEntry(method="offline", preset="demo", grid=SEARCH).expanded()
    for seed in (0, 1):
        for value, entry in enumerate(entries, start=1):
            play(results, entry, preset, seed, value + seed)
        play(results, PlannerEntry(method="offline", preset="demo"), preset, seed, 9 + seed)
    play(results, PlannerEntry(method="offline", preset="other"), preset, 0, 5)
    title = f"Offline BC (demo)\n{GAME}"
    panels, caption = drawn(monkeypatch, results, tmp_path)
    # Means of two seeds; the preset's own planner stands among them, one without a grid does not.
    assert panels == {
        (title, "collect_temperature", "lr 0.001"): {"0.5": 1.5, "1.0": 2.5},
        (title, "collect_temperature", "lr 0.004"): {"0.5": 3.5, "1.0": 4.5},
        (title, "collect_temperature", "lr 0.002"): {"1.0": 9.5},
        (title, "lr", "collect_temperature 0.5"): {"0.001": 1.5, "0.004": 3.5},
        (title, "lr", "collect_temperature 1.0"): {"0.001": 2.5, "0.002": 9.5, "0.004": 4.5},
    }
    assert "2 training seeds, 20 episodes of each policy" in caption


def test_pupils_of_another_expert_are_another_study(results, tmp_path, monkeypatch):
    for entry in PlannerEntry(
        method="offline", preset="demo", grid={"soft_labels": [False, True]}
    ).expanded():
        for suffix in ("", "_by_ppo_rnn"):
            play(results, entry, {}, 0, 3, suffix)
    panels, _ = drawn(monkeypatch, results, tmp_path)
    assert panels == {
        (f"Offline BC ({name})\n{GAME}", "soft_labels", ""): {"false": 3.0, "true": 3.0}
        for name in ("demo", "demo by ppo_rnn")
    }


def test_files_are_written_and_nothing_searched_is_said(results, tmp_path):
    for entry in PlannerEntry(method="offline", preset="demo", grid={"lr": [1e-5, 1e-3]}).expanded():
        play(results, entry, {}, 0, 3)
    grid.draw([*results.trainings, *results.evaluations], tmp_path / "grid")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "grid.pdf").read_bytes().startswith(b"%PDF")
    grid.draw([], tmp_path / "none")
    assert (tmp_path / "none.txt").read_text() == "No planner of a grid was evaluated.\n"


def test_the_plan_has_it_where_a_planner_has_a_grid():
    for planner, has_it in ((OFFLINE, False), ({**OFFLINE, "grid": {"lr": [1e-5, 1e-3]}}, True)):
        figures = [figure.name for figure in with_planners(planner).catalogue.paper_figures]
        assert ("grid" in figures) == has_it
