"""A page to explore runs: first the policies' results and their uncertainty, then the runs and their data.

`report.py` writes it for a pipeline, `comparison.py` for any runs. Tables are markup, complete without
scripts; figures and runs are data that the page's scripts (`web/report.*.js`) draw with Plotly.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy

from remdm.analysis import charts
from remdm.analysis.charts import Chart
from remdm.analysis.formats import as_frame, as_html
from remdm.analysis.page import as_json, build_page, compressed
from remdm.analysis.policies import EvaluatedPolicy, behind, share_of_expert
from remdm.analysis.published import remark
from remdm.analysis.results import Result, grouped
from remdm.analysis.runs import Unfinished, curves, differing_keys, run_record, run_row
from remdm.analysis.style import Look, label
from remdm.analysis.tables import (
    COST_NOTE,
    TABLES,
    achievement_table,
    improvement_table,
    policy_table,
    published_table,
)
from remdm.base.estimates import CONFIDENCE, Estimate

LIBRARY = "report.plotly-basic-4.1.1.min.js"
SCRIPTS = ("tables", "charts", "runs", "controls")
RETURNS = "Return of an episode: mean and 95 % interval; small dots are the means of seeds."
PROFILES = "Share of episodes with a return of at least x."
DIFFERENCES = (
    "Differences of return, world by world: between a planner and its expert, and between a further way to "
    "play and the first."
)
MOST_SEEDS = 100  # up to which the page can draw intervals


@dataclass(frozen=True)
class ShownPolicy:
    """A player that the page switches on and off: a policy with its trainings and its evaluations."""

    env: str
    label: str
    look: Look
    trained: tuple[Result, ...] = ()
    policy: EvaluatedPolicy | None = None

    @property
    def results(self) -> tuple[Result, ...]:
        """Its runs, evaluations first."""
        return (*(self.policy.results if self.policy else ()), *self.trained)


def explore_page(
    title: str,
    players: Sequence[ShownPolicy],
    results: Sequence[Result],
    output: Path,
    unfinished: Sequence[Unfinished] = (),
    experts: str = "",
    files: str = "",
    compared: bool = False,
) -> str:
    """The page of some players and runs.

    Args:
        results: all runs, those of players among them.
        output: the path of the page, to which links are relative.
        experts: markup that describes the experts.
        files: markup that lists further files.
        compared: whether to show the keys in which the players differ.
    """
    page = _Page(players, results)
    policies = [player.policy for player in players if player.policy is not None]
    games = list(dict.fromkeys([*(result.env for result in results), *(job.env for job in unfinished)]))
    of_game = [(env, [policy for policy in policies if policy.env == env]) for env in games]
    lead = "".join(f"<p>{html.escape(text)}</p>" for text in headline(policies))
    sections = [
        page.section(
            "evaluation", "Evaluation results", [_evaluated(page, *game, unfinished) for game in of_game]
        ),
        page.section("achievements", "Achievement rates", [_unlocked(page, *game) for game in of_game]),
        page.section("learning", "Learning curves", [_learning(players, env) for env in games]),
        page.section("scaling", "Model-size scaling", [_scaled(page, *game) for game in of_game]),
        page.section("costs", "Compute cost", [_cost(page, env, results) for env in games]),
        page.section(
            "keys", "Configuration: keys that differ", [_keys(page, env) for env in games if compared]
        ),
        page.section("runs", "Runs", [_runs(page, env, results, unfinished) for env in games]),
        page.section("files", "Files for the paper", [files]),
    ]
    first = [page.chart("returns", env, own, charts.returns, RETURNS) for env, own in of_game]
    critical = scipy.special.stdtrit(np.arange(1, MOST_SEEDS), (1 + CONFIDENCE) / 2)
    data = {
        "games": games,
        "players": [_switch(page, player) for player in players],
        "charts": page.charts,
        "runs": [run_record(result, output) for result in results],
        "critical": [None, None, *critical.round(6).tolist()],  # by the number of seeds
    }
    return build_page(
        "report", SCRIPTS, libraries=(LIBRARY,),
        parts={
            "title": html.escape(title), "lead": lead, "state": _state(results, unfinished),
            "experts": experts, "first": "".join(first), "sections": "\n".join(filter(None, sections)),
            "links": "".join(page.links), "data": compressed([as_json(data).encode()]),
            "curves": compressed([as_json(list(map(curves, results))).encode()]),
        },
    )  # fmt: skip


def headline(policies: Sequence[EvaluatedPolicy]) -> list[str]:
    """The result of each game in a few sentences: the best planner's return and share, with intervals."""
    found = []
    for env, rivals in grouped(policies, "env").items():
        planners = [policy for policy in rivals if policy.role not in ("expert", "random")]
        others = [policy for policy in rivals if policy not in planners][:3]
        sentences = [f"{policy.label} returns {_shortly(policy.mean())} an episode." for policy in others]
        if planners:
            best = max(planners, key=lambda policy: policy.mean().value)
            share = share_of_expert(best, rivals)
            of = f": {_shortly(share.percent, 0, ' %')} of the expert" if share else ""
            count = f"the best of {len(planners)} planners and ways to play, {best.label},"
            who = count if len(planners) > 1 else best.label
            sentences.insert(0, f"In {env} {who} returns {_shortly(best.mean())} an episode{of}.")
        found.append(" ".join([*sentences, behind(rivals, "mean")]))
    return found


def _shortly(value: Estimate, decimals: int = 2, unit: str = "") -> str:
    of, low, high = (f"{bound:.{decimals}f}" for bound in value)
    return f"{of}{unit} [{low}, {high}]"


class _Page:
    """A page while it is built: figures as data, and the numbers that identify players and runs."""

    def __init__(self, players: Sequence[ShownPolicy], results: Sequence[Result]) -> None:
        self.players, self.charts = players, list[Chart]()
        self.links: list[str] = []
        self.numbers = {player.policy: i for i, player in enumerate(players) if player.policy is not None}
        self.labels = {(player.env, player.label): i for i, player in enumerate(players)}
        self.runs = {result.folder: i for i, result in enumerate(results)}

    def section(self, name: str, title: str, parts: Iterable[str]) -> str:
        """A section; empty if all its parts are."""
        content = "".join(parts)
        if not content:
            return ""
        self.links.append(f'<a href="#{name}">{html.escape(title)}</a>')
        return f'<section id="{name}"><h2>{html.escape(title)}</h2>{content}</section>'

    def chart(self, name: str, env: str, policies: Any, make: Any, note: str = "") -> str:
        """A figure of a game, which `make` draws of some policies; empty without any."""
        chart = make(policies, self.numbers) if policies else None
        if not chart:
            return ""
        self.charts.append(chart | {"name": name, "game": env})
        caption = f"<figcaption>{_game(env)}{html.escape(note)}</figcaption>"
        place = f'data-game="{html.escape(env)}" data-chart="{len(self.charts) - 1}"'
        return f'<figure class="chart" {place}>{caption}<div class="plot"></div></figure>\n'

    def table(self, frame: pl.DataFrame, env: str, columns: Sequence[str] = (), note: str = "") -> str:
        """A table of a game with all columns, whose rows refer to players and runs; empty without rows.

        Args:
            columns: the first columns.
        """
        frame = frame.drop("env", strict=False)
        if frame.is_empty():
            return ""
        order = [name for name in columns if name in frame.columns]
        frame = frame.select(*dict.fromkeys([*order, *frame.columns]))
        rows = [self._row(env, row) for row in frame.iter_rows(named=True)]
        frame = frame.drop("of", strict=False)
        labels = [player.label for player in self.players]
        body = f'<div class="wide">{as_html(frame, rows=rows, names=labels)}</div>'
        note = f'<p class="note">{html.escape(note)}</p>' if note else ""
        return f'<div class="table" data-game="{html.escape(env)}"><h3>{_game(env)}</h3>{body}{note}</div>\n'

    def _row(self, env: str, row: Mapping[str, Any]) -> str:
        """Attributes of a row: of policies, their players and the first one's runs; of a run, that run."""
        if folder := row.get("of"):
            return f' data-runs="{self.runs[Path(folder)]}"'
        found = [
            self.labels[env, row[key]] for key in ("policy", "other") if (env, row.get(key)) in self.labels
        ]
        if not found:
            return ""
        runs = [self.runs[result.folder] for result in self.players[found[0]].results]
        return f' data-players="{_listed(found)}" data-runs="{_listed(runs)}"'


def _evaluated(
    page: _Page, env: str, policies: list[EvaluatedPolicy], unfinished: Sequence[Unfinished]
) -> str:
    frame = policy_table(policies)
    missing: dict[str, list[str]] = {}
    for job in unfinished:
        if (job.env, job.stage) == (env, "inference"):
            missing.setdefault(label(job.name), []).append(f"seed {job.seed}: {job.state}")
    if missing:
        lacking = as_frame(
            {"policy": name, "not finished": "; ".join(states)} for name, states in missing.items()
        )
        frame = frame.join(lacking, on="policy", how="full", coalesce=True) if len(frame) else lacking
    if not policies:
        return page.table(frame, env)
    table = TABLES["policies"]
    first = ["policy", *(["not finished"] if missing else []), *(table.columns or ())]
    parts = [
        page.table(frame, env, first, table.note(policies)),
        page.chart("profiles", env, policies, charts.profiles, PROFILES),
        page.chart("differences", env, policies, charts.differences, DIFFERENCES),
    ]
    if len(policies) > 1:
        pairs = page.table(improvement_table(policies), env, (), TABLES["improvement"].note(policies))
        parts.append(f"<details><summary>Pairwise comparisons</summary>{pairs}</details>")
    if remark(policies):
        note = TABLES["published"].note(policies)
        parts.append(f"<h3>Published results</h3>{page.table(published_table(policies), env, (), note)}")
    return "".join(parts)


def _unlocked(page: _Page, env: str, policies: list[EvaluatedPolicy]) -> str:
    if not policies:
        return ""
    note = TABLES["achievements"].note(policies)
    figure = page.chart("achievements", env, policies, charts.achievements, note)
    table = page.table(achievement_table(policies), env)
    return f"{figure}<details><summary>The same as a table</summary>{table}</details>"


def _learning(players: Sequence[ShownPolicy], env: str) -> str:
    """A place for curves, into which the page draws the chosen metrics."""
    if not any(player.trained for player in players if player.env == env):
        return ""
    return f'<div class="curves" data-game="{html.escape(env)}"><h3>{_game(env)}</h3></div>'


def _scaled(page: _Page, env: str, policies: list[EvaluatedPolicy]) -> str:
    trained = {player.policy: player.trained[0] for player in page.players if player.trained}
    sizes = {
        policy: int(parameters)
        for policy in policies
        if policy in trained
        and policy.role != "expert"
        and (parameters := trained[policy].run.get("parameters"))
    }
    return page.chart("scaling", env, sizes if len({*sizes.values()}) > 1 else {}, charts.scaling)


def _cost(page: _Page, env: str, results: Sequence[Result]) -> str:
    note = "Minutes of a job, seeds averaged; rest is starting, loading and saving."
    own = [result for result in results if result.env == env]
    return page.chart("costs", env, own, lambda runs, _: charts.costs(runs), note)


def _keys(page: _Page, env: str) -> str:
    own = {player.label: player.results for player in page.players if player.env == env}
    return page.table(as_frame(differing_keys(own)), env, ["key"])


def _runs(page: _Page, env: str, results: Sequence[Result], unfinished: Sequence[Unfinished]) -> str:
    rows = [run_row(result) | {"of": str(result.folder)} for result in results if result.env == env]
    rows += [
        {"run": f"{job.stage} {job.name} s{job.seed}", "state": job.state, "of": None}
        for job in unfinished
        if job.env == env
    ]
    return page.table(as_frame(rows), env, ["run", "state"], COST_NOTE)


def _switch(page: _Page, player: ShownPolicy) -> dict[str, Any]:
    runs = [page.runs[result.folder] for result in player.results]
    trained = [page.runs[result.folder] for result in player.trained]
    return {
        "label": player.label, "game": player.env, "runs": runs, "trained": trained,
        **charts.look_of(player.look),
    }  # fmt: skip


def _state(results: Sequence[Result], unfinished: Sequence[Unfinished]) -> str:
    """The number of finished runs, if there are unfinished ones."""
    if not unfinished:
        return ""
    count = f"{len(results)} of {len(results) + len(unfinished)}"
    return f'<p id="state"><strong>{count} runs are finished; Runs lists the others too.</strong></p>'


def _game(env: str) -> str:
    """The name of a game, which the page hides if there is only one."""
    return f'<span class="of-game">{html.escape(env)}. </span>'


def _listed(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))
