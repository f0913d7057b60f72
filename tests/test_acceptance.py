"""Results of older code that count as current, by their records alone."""

import json
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from remdm.base.errors import UserError
from remdm.base.files import write_json
from remdm.cli import main
from remdm.commands.accept import run_accept
from remdm.workflow.acceptance import accept, acceptable, examine, lines_of
from remdm.workflow.plan import Plan
from remdm.workflow.provenance import chain
from tests.conftest import REPOSITORY

CHANGED = "remdm/play/rollout.py"
BEFORE = "000000000000"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow_config.yaml").write_text((REPOSITORY / "workflow_config.yaml").read_text())
    return Plan.load(Path("workflow_config.yaml"), {})


def leave_results(plan, changed=CHANGED, config=None):
    """Records as code with another version of a module would have left them, and keys of PPO's."""
    digests = {}
    for product in [*plan.jobs, *plan.catalogue.figures]:
        now = plan.origin_of(product)
        before = replace(
            now,
            config={**now.config, **((config or {}) if now.stage == "ppo" else {})},
            sources={path: BEFORE if path == changed else digest for path, digest in now.sources.items()},
            inputs={key: digests[source] for key, source in plan.inputs_of(product).items()},
        )
        digests[product] = before.digest
        record = {"digest": before.digest, "origin": asdict(before), "git_commit": "a" * 40}
        job = {"seed": 0, "config": dict.fromkeys(now.inputs, "elsewhere/checkpoint")}
        write_json(Path(product.record), record | job)
    return digests


ORIGIN = {"stage": "online", "inputs": {"checkpoint_path": "x"}}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5,
        '{"digest": "a", "origin": null}',
        '{"digest": "a", "origin": {"stage": "online", "inputs": null}}',
        '{"digest": "a", "origin": {"stage": "online", "colour": "red"}}',
        json.dumps({"digest": "a", "origin": ORIGIN, "git_commit": 5}),
        json.dumps({"digest": "a", "origin": ORIGIN, "accepted": [{"at": "noon"}]}),
    ],
    ids=lambda text: text[-50:],
)
def test_a_damaged_record_is_one_line(text, tmp_path, capsys):
    (tmp_path / "run.json").write_text(text)
    assert main(["provenance", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'run.json'}: is no record of a result; delete it, and the result is made again\n"
    )


def test_records_that_name_each_other_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, other in ("ab", "ba"):
        config = {"checkpoint_path": f"results/{other}/checkpoint"}
        record = {"digest": name, "origin": ORIGIN, "config": config, "git_commit": None, "seed": 0}
        write_json(Path("results") / name / "run.json", record)
    assert main(["provenance", "results/a"]) == 2
    error = capsys.readouterr().err
    assert error == "error: results/a/run.json: is the record of a run that was made from itself; delete it\n"


def test_another_release_of_the_game_makes_its_results_stale(plan, monkeypatch, capsys):
    """A patch does not; and who knows better may let results count."""

    def installed(release):
        monkeypatch.setattr("remdm.workflow.digest.version", lambda package: release)
        return Plan.load(Path("workflow_config.yaml"), {})

    leave_results(installed("1.6.1"), changed=None)
    expert = plan.jobs[0]
    assert {verdict.is_current for verdict in examine(installed("1.6.9"), [])} == {True}
    assert {verdict.is_current for verdict in examine(installed("1.7.0"), [])} == {False}
    assert main(["why", expert.folder]) == 0
    assert "  craftax: its code has changed (1.6 -> 1.7)\n" in capsys.readouterr().out
    accept(examine(installed("1.7.0"), []))
    assert {verdict.is_current for verdict in examine(installed("1.7.0"), [])} == {True}


def test_results_of_other_settings_are_left_out(plan, capsys):
    leave_results(plan)
    evaluations = [job for job in plan.jobs if job.stage == "inference"]
    for job in evaluations[:-1]:
        Path(job.record).unlink()
    record = json.loads(Path(evaluations[-1].record).read_text())
    record["origin"]["config"]["eval_steps"] = 7
    write_json(Path(evaluations[-1].record), record)
    assert main(["results"]) == 0
    [heading, made_by, scale, command] = capsys.readouterr().out.strip().split("\n\n")[:4]
    assert (heading, scale) == ("# Results", "## demo")
    assert made_by.startswith("Made by `uv run remdm results`. ")
    assert command == "`uv run snakemake --config scale=demo`; 0 of 4 evaluations are finished."


def test_results_that_code_alone_made_stale_count_as_current_once_accepted(plan):
    old = leave_results(plan)
    verdicts = examine(plan, [])
    stale = acceptable(verdicts)
    assert {v.product for v in stale} == {p for p in old if old[p] != plan.origin_of(p).digest}
    assert len(stale) > 30
    now = plan.origin_of(plan.jobs[0]).sources[CHANGED]
    assert f"  {CHANGED}: its code has changed ({BEFORE} -> {now})" in list(lines_of(verdicts))
    accept(verdicts)
    assert all(verdict.is_current for verdict in examine(plan, []))
    [trace] = json.loads(Path(plan.jobs[0].record).read_text())["accepted"]
    assert trace["digest"] == old[plan.jobs[0]]
    assert CHANGED in trace["code"][0]
    assert set(trace) == {"digest", "git_commit", "at", "code"}
    assert ": its code has changed" not in "\n".join(lines_of(examine(plan, [])))


def test_another_key_is_no_change_of_code_and_neither_is_what_follows_from_it(plan):
    leave_results(plan, config={"ppo_lr": 0.5})
    verdicts = {v.product: v for v in examine(plan, [])}
    [expert] = plan.catalogue.of("ppo")
    assert verdicts[expert].refusals == (f"ppo_lr: 0.5 -> {plan.configs[expert].ppo_lr}",)
    for job in plan.catalogue.of("offline", "online", "ablations", "collect"):
        assert verdicts[job].refusals
    # Random play is of no expert.
    [random] = [job for job in plan.catalogue.of("inference") if job.name == "random"]
    assert acceptable([verdicts[random]])
    accept(list(verdicts.values()))
    assert json.loads(Path(expert.record).read_text())["digest"] != plan.digest(expert)


def test_a_key_that_code_has_gained_is_a_change_of_code(plan):
    leave_results(plan, config={"a_key_of_old": 3})
    expert = examine(plan, [])[0]
    assert acceptable([expert])
    assert "a_key_of_old: 3 -> nothing" in expert.code


def test_what_was_made_from_another_result_is_refused(plan):
    """Of an expert that was trained again since, the planners are not."""
    leave_results(plan)
    [expert] = plan.catalogue.of("ppo")
    record = json.loads(Path(expert.record).read_text())
    write_json(
        Path(expert.record),
        record | {"origin": asdict(plan.origin_of(expert)), "digest": plan.digest(expert)},
    )
    verdicts = {v.product: v for v in examine(plan, [])}
    assert verdicts[expert].is_current
    for job in plan.catalogue.of("offline", "online"):
        assert "ppo_checkpoint_path" in verdicts[job].refusals[0]


def test_a_result_accepted_alone_stays_the_origin_of_what_was_made_from_it(plan):
    old = leave_results(plan)
    [expert], [planner] = plan.catalogue.of("ppo"), plan.catalogue.of("offline")
    accept(examine(plan, [expert.folder]))
    verdicts = {v.product: v for v in examine(plan, [planner.folder])}
    assert verdicts[expert].is_current
    assert acceptable([verdicts[planner]])
    curves = plan.figures[f"{expert.folder}/curves"]
    for output in curves.outputs:
        Path(output).touch()
    # A page beside a picture of its name has a record of its own.
    page = Path(curves.outputs[0] + ".html")
    page.with_name(f"{page.name}.run.json").write_text(
        Path(curves.record).read_text().replace(old[expert], "other")
    )
    assert "when it was other" in "\n".join(chain(str(page)))
    text = "\n".join(chain(curves.outputs[0]))
    assert "made again" not in text
    assert "of older code, accepted as current" in text
    assert old[expert] in json.loads(Path(curves.record).read_text())["origin"]["inputs"].values()


def test_the_command_shows_and_changes_nothing_until_told_to(plan, capsys):
    leave_results(plan)
    before = {path: path.read_bytes() for path in Path("results").rglob("*.json")}
    assert main(["accept"]) == 0
    out = capsys.readouterr().out
    assert f"{CHANGED}: its code has changed" in out
    assert "--yes records it" in out
    assert {path: path.read_bytes() for path in Path("results").rglob("*.json")} == before


def test_mistakes_are_one_line(plan, capsys):
    assert main(["accept", "results/nothing"]) == 2
    assert "is made by no job of scale demo" in capsys.readouterr().err
    with pytest.raises(UserError, match="is not made yet"):
        examine(plan, [plan.jobs[0].folder])
    leave_results(plan, changed="", config={"ppo_lr": 0.5})
    assert main(["accept", plan.jobs[0].folder, "--yes"]) == 2
    assert "more than its code has changed" in capsys.readouterr().err


def test_accepting_imports_nothing_from_the_working_folder(plan):
    leave_results(plan)
    Path("snakemake.py").write_text("open('ran', 'w')")
    with pytest.raises(UserError, match="snakemake --touch"):  # for there is no Snakefile here
        run_accept(Namespace(scale=None, targets=[plan.jobs[0].folder], yes=True))
    assert not Path("ran").exists()
