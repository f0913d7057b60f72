"""The report and the comparison: what their page has, and what every control does in a browser."""

import base64
import gzip
import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import polars as pl
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from remdm.analysis.comparison import short_names, write_comparison
from remdm.analysis.explore import LIBRARY
from remdm.analysis.page import WEB
from remdm.analysis.policies import read_policies
from remdm.analysis.report import write_report
from remdm.analysis.results import Result, read_results
from remdm.analysis.runs import Unfinished, curves, repeat_command
from remdm.analysis.seeds import mean_curve
from remdm.analysis.tables import policy_table
from remdm.cli import _parser, main
from remdm.commands.configuration import call_of, configured
from remdm.config.layers import Layer, base_layers, build
from remdm.config.stages import STAGES
from remdm.workflow.plan import Plan
from tests import browser
from tests.browser import assert_quiet, click, focused, press, texts, wait
from tests.conftest import REPOSITORY
from tests.test_analysis import FULL, GAME, Results

NASTY = "<img src=x onerror=window.hit=1>&amp; %{x} $title"
PLAYERS = ["Expert (ppo_rnn)", "Offline BC (demo)", "DAgger (demo)", "Random"]
SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
WAITING = Unfinished(GAME, "inference", "offline-demo", 3, "results/x/s3", "running, 40 %, 3 min left")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two games and three seeds, of which one evaluation has not ended."""
    return Results(tmp_path_factory.mktemp("runs")).run_all(envs=(GAME, FULL), seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def page(results):
    path = results.root / "paper" / "report.html"
    write_report([*results.trainings, *results.evaluations], [], path, [WAITING])
    return path


def data_of(path):
    found = re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1]
    return json.loads(gzip.decompress(base64.b64decode(found)))


def table_of(text, place):
    """Headings and rows of the tables of a section, without markup."""
    section = re.search(f'<section id="{place}">(.*?)</section>', text, re.DOTALL)[1]
    [first, *_] = re.findall(r"<table>(.*?)</table>", section, re.DOTALL)
    rows = re.findall(r"<tr.*?>(.*?)</tr>", first, re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.split("</t[hd]>", row)[:-1]] for row in rows]


# --- the page as a file ---


def test_tables_are_whole_without_scripts(page, results):
    """Every column that has a value, the name of the game once above and in no row, and what is missing."""
    heads, *rows = table_of(page.read_text(), "evaluation")
    frame = policy_table(read_policies(results.evaluations))
    assert heads[:3] == ["policy", "not finished", "return"]
    hidden = {"env", "published", "published_unit", "difference"}
    columns = [name for name in frame.columns if not name.endswith(("_low", "_high")) and name not in hidden]
    assert len(heads) == len(columns) + len(["not finished", "episode ci low", "episode ci high"])
    assert [row[0] for row in rows] == PLAYERS
    assert [row[1] for row in rows] == ["–", "seed 3: running, 40 %, 3 min left", "–", "–"]
    assert "In Craftax-Classic-Symbolic-v1 the best of 2 planners" in page.read_text()
    runs = table_of(page.read_text(), "runs")
    assert runs[-1][:2] == ["inference offline-demo s3", "running, 40 %, 3 min left"]
    assert len(runs) == 1 + 3 * 8 + 1
    assert "48 of 49 runs are finished" in page.read_text()


def test_a_page_is_the_same_each_time_and_asks_for_nothing(page, results, tmp_path):
    again = page.with_name("again.html")
    write_report([*results.trainings, *results.evaluations], [], again, [WAITING])
    text = page.read_text()
    assert again.read_text() == text
    assert "default-src 'none'; form-action 'none'" in text
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"https?:|<link|<img|@import|url\(|src=", markup)


def test_the_library_is_pinned_and_embedded_once(page):
    """Plotly's basic bundle as npm has it (plotly.js-basic-dist-min), with its licence."""
    library = (WEB / LIBRARY).read_bytes()
    assert hashlib.sha256(library).hexdigest() == SHA256
    assert page.read_text().count("plotly.js (basic - minified) v4.1.1") == 1
    assert (
        "The MIT License" in (licence := (WEB / "report.plotly-LICENSE.txt").read_text())
        or "MIT License" in licence
    )


def test_a_row_leads_to_its_runs(page):
    """Of every policy its evaluations, then its trainings; each with its record, beside the page or not."""
    data = data_of(page)
    row = re.search(r'<tr data-players="(\d+)" data-runs="([\d ]+)"><td>DAgger \(demo\)', page.read_text())
    runs = [data["runs"][int(number)] for number in row[2].split()]
    assert data["players"][int(row[1])]["label"] == "DAgger (demo)"
    stages = [*["inference online-demo"] * 3, *["online demo"] * 3]
    assert [run["title"] for run in runs] == [
        f"{stage}, seed {seed}" for stage, seed in zip(stages, [0, 1, 2] * 2, strict=True)
    ]
    for run in data["runs"]:
        assert (page.parent / run["record"]).resolve() == (Path(run["folder"]) / "run.json").resolve()


@pytest.mark.parametrize(
    ("stage", "preset", "keys"),
    [
        ("ppo", "demo", {"seed": 3, "ppo_model_type": "ppo_rnd", "lr": 1e-5}),
        ("online", None, {"ppo_checkpoint_path": "a folder/check'point", "val_interval_frames": 5000}),
        ("inference", "demo", {"policy": "random", "expert_temperature": 0.0}),
        ("ablations", "ablations_fast", {"arm": "llrd", "checkpoint_path": "x"}),
    ],
)
def test_the_command_of_a_run_repeats_it(stage, preset, keys, tmp_path):
    config = build(STAGES[stage].model, [*base_layers(preset), Layer("test", keys)])
    record = {"stage": stage, "seed": config.seed, "config": config.flat(), "git_commit": "abc+"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    checkout, command = repeat_command(Result(tmp_path)).splitlines()
    assert checkout == "git checkout abc  # and what was not committed then"
    _, _, _, *arguments = shlex.split(command)
    again, _, _ = configured(call_of(_parser().parse_args(arguments)))
    assert again.flat() == config.flat()


def test_curves_are_those_of_the_figures(results):
    """Thinned of a long run, whole of a short one."""
    result = read_results(results.of("online"))[0]
    found = curves(result)
    axis, values = found["metrics"]["env/episode_return"]
    expected = mean_curve([result], "env/episode_return")
    np.testing.assert_allclose(found["axes"][axis]["frames"], expected.x)
    np.testing.assert_allclose(values, expected.mean, rtol=1e-3)
    axis, values = found["metrics"]["val/score"]
    assert found["axes"][axis]["frames"] == [10_000, 20_000, 30_000, 40_000]
    assert values == [9, 19, 29, 39]
    long = results.train(GAME, "online", "long", updates=1000)
    axis, values = curves(Result(long))["metrics"]["env/episode_return"]
    assert (len(values), values[0], values[-1]) == (75, pytest.approx(1, abs=0.1), pytest.approx(8, abs=0.1))
    results.trainings.pop()


def test_any_runs_are_compared(results, tmp_path, capsys):
    """Seeds belong together; the same name in two places is told apart by its path."""
    other = Results(tmp_path / "elsewhere")
    other.evaluate(GAME, "offline-demo", config={"eval_steps": 7})
    evaluated = [Path(path).parent for path in results.evaluations if "offline-demo" in path and GAME in path]
    runs = [
        *evaluated,
        other.root / GAME / "inference" / "offline-demo" / "s0",
        Path(results.trainings[0]).parent,
    ]
    output = tmp_path / "page.html"
    assert main(["compare", *map(str, runs), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    data = data_of(output)
    labels = [player["label"] for player in data["players"]]
    assert labels[2] == "ppo_rnn"
    assert [Path(label).parts[-4:] for label in labels[:2]] == [
        (results.root.name, GAME, "inference", "offline-demo")
    ] * 2
    assert [len(player["runs"]) for player in data["players"]] == [3, 1, 1]
    heads, *rows = table_of(output.read_text(), "keys")
    assert heads == ["key", *labels]
    assert rows == [["eval_steps", "1000", "7", "1000"]]
    assert "% of expert" not in output.read_text()


def test_short_names():
    names = short_names([Path("/a/x/demo"), Path("/b/x/demo"), Path("/b/other")])
    assert names == ["a/x/demo", "b/x/demo", "other"]


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}: has no run.json, so it is no folder of a finished run\n"
    )


# --- the page in a browser ---


def opened(driver, page, place=""):
    browser.opened(driver, page, place)
    wait(lambda: driver.execute_script("return document.body.dataset.complete !== undefined"))


def drawn(driver, selector=".plot"):
    """The traces of the first figure that a selector finds, once it is drawn."""
    script = """
        const root = document.querySelector(arguments[0]);
        root.scrollIntoView({block: "center"});
        return root.data?.map(({name, x, y, error_x, hovertext}) => ({name, x, y, error_x, hovertext}));
    """
    wait(lambda: driver.execute_script(script, selector) is not None)
    return driver.execute_script(script, selector)


def rows(driver, place):
    """The texts of the rows that are seen of the first table of a section that is seen."""
    script = """
        const [root] = [...document.querySelectorAll(`#${arguments[0]} .table`)].filter((e) => !e.hidden);
        return [...root.querySelector("tbody").rows].filter((row) => !row.hidden)
          .map((row) => [...row.cells].map((cell) => cell.textContent));
    """
    return driver.execute_script(script, place)


def use(driver, selector, action="e.click()", number=0):
    """Run a statement on an element `e` that a selector finds."""
    script = f"const e = document.querySelectorAll(arguments[0])[arguments[1]]; {action}"
    driver.execute_script(script, selector, number)


def choose(driver, selector, value):
    use(driver, selector, f"e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change'))")


def write(driver, selector, text):
    use(driver, selector, f"e.value = {json.dumps(text)}; e.dispatchEvent(new Event('input'))")


def test_figures_and_tables_do_what_their_controls_say(driver, page, results):
    browser.resize(driver, 1200, 900)
    opened(driver, page)

    # The first figure answers: everyone's mean with its interval, and the seeds behind it.
    wanted = policy_table(read_policies([path for path in results.evaluations if GAME in path]))
    traces = drawn(driver)
    assert len(traces) == 2 * len(PLAYERS)
    for trace, row in zip(traces, wanted.iter_rows(named=True), strict=False):
        assert trace["x"] == [pytest.approx(row["return"])]
        assert trace["error_x"]["array"] == [pytest.approx(row["return_high"] - row["return"], rel=1e-3)]
        assert "3 training seeds, 360 episodes" in trace["hovertext"][0]

    # A heading sorts up and then down, by value and not by text.
    means = dict(zip(wanted["policy"], wanted["return"], strict=True))
    for descending in (False, True):
        use(driver, "#evaluation th:nth-child(3) button")
        assert [row[0] for row in rows(driver, "evaluation")] == sorted(
            means, key=means.get, reverse=descending
        )
    assert driver.find_element("css selector", "#evaluation th:nth-child(3)").aria_role == "columnheader"
    assert len(driver.find_elements("css selector", "#evaluation th[aria-sort=descending]")) == 1
    use(driver, "#runs th:nth-child(3) button")
    assert (
        rows(driver, "runs")[-1][0] == "inference offline-demo s3"
    )  # without a value it is last, and down too
    use(driver, "#runs th:nth-child(3) button")
    assert rows(driver, "runs")[-1][0] == "inference offline-demo s3"

    # Words filter rows.
    assert len(rows(driver, "runs")) == 25
    write(driver, "#runs input[type=search]", "OFFLINE demo s1")
    assert {row[0] for row in rows(driver, "runs")} == {"offline demo s1", "inference offline-demo s1"}
    assert texts(driver, "#runs output")[0] == "2 of 25 rows"
    write(driver, "#runs input[type=search]", "")

    # A game that is not chosen leaves the page; who is switched off leaves figures and tables.
    choose(driver, "#game", "1")
    assert {*texts(driver, f"[data-game='{FULL}']")} == {""}
    use(driver, "#switches", "e.open = true")
    use(driver, "#players input", number=1)
    left = sorted({*means} - {PLAYERS[1]}, key=means.get, reverse=True)
    assert [row[0] for row in rows(driver, "evaluation")] == left
    assert len(drawn(driver)) == 2 * len(left)
    assert texts(driver, "#shown") == ["Shown: 7 of 8 in all figures and tables"]
    click(driver, "none")
    assert (rows(driver, "evaluation"), drawn(driver)) == ([], [])
    click(driver, "all")
    assert len(drawn(driver)) == 2 * len(PLAYERS)
    assert_quiet(driver, page)


def test_curves_are_of_the_chosen_metric(driver, page, results):
    """As Python averages them, against frames and time; every seed by itself; on a logarithmic axis."""
    opened(driver, page)
    first = ".curves .plot"
    runs = [result for result in read_results(results.of("online")) if result.env == GAME]
    for against, scale in (("frames", 1), ("minutes", 60)):
        choose(driver, ".curves select[aria-label=Against]", against)
        choose(driver, ".curves select[aria-label=Metric]", "env/episode_return")
        expected = mean_curve(runs, "env/episode_return", {"frames": "frames", "minutes": "seconds"}[against])
        band, line = [trace for trace in drawn(driver, first) if trace["name"] == "DAgger (demo)"]
        np.testing.assert_allclose(line["x"], expected.x / scale, rtol=2e-3)
        np.testing.assert_allclose(line["y"], expected.mean, rtol=1e-2)
        np.testing.assert_allclose(band["y"][: len(line["y"])], expected.interval[1], rtol=2e-2)
    use(driver, ".curves input[type=checkbox]")
    names = [trace["name"] for trace in drawn(driver, first)]
    assert names[-3:] == [f"online demo, seed {seed}" for seed in (0, 1, 2)]
    use(driver, ".curves input[type=checkbox]", number=1)
    drawn(driver, first)
    assert driver.execute_script(f"return document.querySelector('{first}').layout.yaxis.type") == "log"
    assert_quiet(driver, page)


def test_values_are_shown_on_hover_and_a_click_leads_to_the_runs(driver, page):
    browser.resize(driver, 1200, 900)
    opened(driver, page)
    drawn(driver)
    point = driver.find_element("css selector", ".plot .point")
    webdriver.ActionChains(driver).move_to_element(point).perform()
    wait(lambda: texts(driver, ".hoverlayer .hovertext"))
    assert "Expert (ppo_rnn)" in texts(driver, ".hoverlayer .hovertext")[0]
    webdriver.ActionChains(driver).click(point).perform()
    wait(lambda: texts(driver, "#run-title") != [""])
    assert texts(driver, "#run-title") == [f"inference ppo_rnn, seed 0, {GAME}"]
    # No button sends the figure anywhere.
    titles = {e.get_attribute("data-title") for e in driver.find_elements("css selector", ".modebar-btn")}
    assert len(titles) == 6
    assert not any("cloud" in title.lower() or "share" in title.lower() for title in titles)
    assert_quiet(driver, page)


def test_a_run_is_shown_by_itself(driver, page):
    """Its command, record, keys and curves; the ways there, to the others of its row, and back."""
    opened(driver, page)
    use(driver, "#evaluation tbody tr:nth-child(3) button")
    folder = next(
        run["folder"] for run in data_of(page)["runs"] if run["title"] == "inference online-demo, seed 0"
    )
    assert texts(driver, "#run-title") == [f"inference online-demo, seed 0, {GAME}"]
    assert driver.execute_script("return new URLSearchParams(location.hash.slice(1)).get('run')") == folder
    assert (
        driver.find_element("id", "run-record").get_attribute("href") == (Path(folder) / "run.json").as_uri()
    )
    assert driver.find_element("id", "run-folder").get_attribute("href") == f"{Path(folder).as_uri()}/"
    assert "uv run remdm inference --" in texts(driver, "#run-command")[0]
    assert len(texts(driver, "#run-others button")) == 5
    use(driver, "#run-others button", number=4)
    assert texts(driver, "#run-title") == [f"online demo, seed 2, {GAME}"]
    choose(driver, "#run select", "dagger/beta")
    assert drawn(driver, "#run .plot")[0]["y"][0] == 1
    use(driver, "#run details", "e.open = true")
    assert ["ppo_model_type", "ppo_rnn"] in [
        row.text.split() for row in driver.find_elements("css selector", "#run details[open] tr")
    ]
    click(driver, "copy")
    wait(lambda: texts(driver, "#copied")[0] in ("Copied.", "Selected."))
    assert driver.execute_script("return String(getSelection())").startswith("git checkout 0123456789")
    press(driver, Keys.ESCAPE)
    wait(lambda: not driver.find_element("id", "run").is_displayed())
    assert driver.execute_script("return location.hash") == ""
    driver.execute_script("location.hash = new URLSearchParams({run: arguments[0]})", folder)
    wait(lambda: driver.find_element("id", "run").is_displayed())
    click(driver, "close")
    assert not driver.find_element("id", "run").is_displayed()
    assert_quiet(driver, page)


@pytest.mark.slow
def test_all_of_it_can_be_used_by_keys_alone(driver, page):
    """Each control takes the focus, has a name, and shows that it has it."""
    opened(driver, page)
    names = focused(driver, 400)
    assert all(names)
    for wanted in (
        "Evaluation results",
        "Filter rows",
        "policy",
        "DAgger (demo)",
        "Metric",
        "Against",
        "every seed",
    ):
        assert wanted in names
    press(driver, Keys.ENTER)
    assert_quiet(driver, page)


def test_markup_in_names_is_text(driver, tmp_path):
    """Of labels, keys, values, commits, devices and states, in tables, figures and the view of a run."""
    nasty = Results(tmp_path)
    odd = {"commit": NASTY, "value": f"{NASTY}value", "device": f"{NASTY}device", "jax": f"{NASTY}jax"}
    about = {
        "git_commit": odd["commit"], "device": {"count": 1, "kind": odd["device"]},
        "packages": {"jax": odd["jax"], "craftax": "1"}, NASTY: NASTY,
    }  # fmt: skip
    config = {"policy": "planner", "env_name": GAME, NASTY: odd["value"], "checkpoint_path": NASTY}
    folder = nasty.evaluate(GAME, f"offline-{NASTY}", config=config, **about)
    nasty.train(GAME, "offline", NASTY, **about)
    unfinished = [Unfinished(GAME, "online", f"{NASTY}name", 0, "x", f"{NASTY}state")]
    report, compared = tmp_path / "report.html", tmp_path / "compared.html"
    write_report([*nasty.trainings, *nasty.evaluations], [], report, unfinished)
    write_comparison([folder, Path(nasty.trainings[0]).parent], compared)
    for page in (report, compared):
        opened(driver, page, f"#{urlencode({'run': str(folder)})}")
        wait(lambda: driver.find_element("id", "run").is_displayed())
        driver.execute_script("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        shown = driver.execute_script("return document.body.textContent")
        for text in (*odd.values(), *([f"{NASTY}state"] if page == report else [])):
            assert text in shown, text
        assert NASTY in driver.find_element("id", "run").text
        click(driver, "close")
        drawn(driver)
        assert NASTY.replace(" (", "") in "".join(texts(driver, ".plot .ytick text"))
        drawn(driver, ".curves .plot")
        assert driver.execute_script("return [document.images.length, window.hit ?? null]") == [0, None]
        assert_quiet(driver, page)


def test_it_is_read_in_the_dark_and_on_paper(driver, page):
    """Ink and lines change with the scheme; in print all is open and drawn, and nothing is left out."""
    opened(driver, page)
    ink = "return document.querySelector('.plot').layout.font.color"
    drawn(driver)
    light = driver.execute_script(ink)
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        wait(lambda: driver.execute_script(ink) != light)
        driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        assert driver.execute_script(ink) == "#000000"
        count = driver.execute_script("return document.querySelectorAll('.js-plotly-plot').length")
        assert count == len(driver.find_elements("css selector", ".plot"))
        assert not driver.find_elements("css selector", "main > section details:not([open])")
        driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
        assert driver.execute_script(ink) not in (light, "#000000")
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert_quiet(driver, page)


@pytest.mark.slow
def test_screenshots_at_three_widths(driver, page, tmp_path):
    """Nothing but the tables, which scroll, is wider than the page; the pictures are kept to be looked at."""
    kept = REPOSITORY / "screenshots" if "CI" in os.environ else tmp_path
    kept.mkdir(exist_ok=True)
    for width in (400, 900, 1600):
        browser.resize(driver, width, 6000)
        opened(driver, page)
        drawn(driver)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert driver.save_screenshot(str(kept / f"report-{width}.png"))


@pytest.mark.slow
def test_the_papers_scale_opens(driver, tmp_path, capsys):
    """With as many metrics as trainings have. How large the page is, and when it was ready, is printed."""
    plan = Plan.load(REPOSITORY / "workflow_config.yaml", {"scale": "paper"})
    results = Results(tmp_path)
    draw = np.random.default_rng(0)
    for job in plan.jobs:
        if job.stage == "inference":
            folder = results.evaluate(job.env, job.name, job.seed)
        elif job.stage in ("film", "sweep"):
            folder = results.folder(job.env, job.stage, job.name, job.seed)
        else:
            folder = results.train(job.env, job.stage, job.name, job.seed, updates=100)
            walk = draw.normal(size=(100, 70)).cumsum(axis=0)
            more = [pl.Series(f"val/metric_{i}", walk[:, i]) for i in range(70)]
            table = pl.read_parquet(folder / "metrics.parquet").with_columns(more)
            table.write_parquet(folder / "metrics.parquet")
    page = tmp_path / "paper.html"
    write_report(sorted(map(str, results.root.glob("*/*/*/*/run.json"))), [], page)
    opened(driver, page)
    times = driver.execute_script("return {...document.body.dataset}")
    with capsys.disabled():
        print(
            f"\n{len(plan.jobs)} runs, {page.stat().st_size / 1e6:.1f} MB; milliseconds until it was {times}"
        )
    assert len(driver.find_elements("css selector", "#runs tbody tr")) == len(plan.jobs)
    drawn(driver, ".curves .plot")
    assert_quiet(driver, page)
