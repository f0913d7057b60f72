"""Tables, figures and the report, from files written here."""

import importlib
import json
import re
from functools import cache
from types import SimpleNamespace

import matplotlib
import numpy as np
import polars as pl
import pytest
from scipy import stats

from remdm.analysis import (
    achievements,
    costs,
    curves,
    dagger,
    gap,
    learning,
    profiles,
    returns,
    scaling,
    style,
    tables,
    unlocked,
)
from remdm.analysis.costs import cost_table
from remdm.analysis.film import Film, read_film
from remdm.analysis.formats import as_html, as_latex, as_markdown, number, shown, write_table
from remdm.analysis.policies import (
    EvaluatedPolicy,
    differences,
    first_evaluations,
    probability_of_improvement,
    read_policies,
    share_of_expert,
)
from remdm.analysis.published import published
from remdm.analysis.report import write_report
from remdm.analysis.results import Result, read_json, read_parquet, read_results, smooth
from remdm.analysis.seeds import mean_curve
from remdm.analysis.session import draw_figure, run_script
from remdm.analysis.style import ROLES, label, looks, role
from remdm.analysis.summary import summary
from remdm.analysis.tables import (
    TABLES,
    achievement_table,
    improvement_table,
    policy_table,
    published_table,
)
from remdm.base.errors import UserError
from remdm.config.stages import STAGES
from remdm.evaluation.episodes import Episodes
from remdm.stages.inference import summarise
from remdm.workflow.plan import Job, Plan
from tests.conftest import REPOSITORY

GAME, FULL = "Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1"
ACHIEVEMENTS = ("collect_wood", "collect_diamond")
MEANS = {"ppo_rnn": 8.0, "offline-demo": 5.0, "online-demo": 6.0, "random": 1.5}
EVALUATION = {
    "eval_protocol": "fixed_steps", "eval_num_envs": 40, "eval_steps": 1000,
    "inpaint_history": False, "replan_every": 1, "diffusion_steps_eval": 8,
}  # fmt: skip
RUN = {
    "wall_seconds": 90.0, "run_seconds": 60.0, "compile_seconds": 12.0, "frames_per_second": 1234.5,
    "peak_memory_mb": 2048, "git_commit": "0123456789abcdef", "digest": "feed", "parameters": 1000,
    "packages": {"jax": "0.10", "craftax": "1.6"}, "device": {"count": 1, "kind": "cpu"}, "cpus": 2,
}  # fmt: skip


class Results:
    """Result files as a pipeline leaves them; what they hold is drawn or given here."""

    def __init__(self, root):
        self.root = root / "results"
        self.trainings, self.evaluations = [], []

    def folder(self, env, stage, name, seed, **keys):
        folder = self.root / env / stage / name / f"s{seed}"
        folder.mkdir(parents=True)
        config = {"ppo_model_type": "ppo_rnn", "layer_size": 48, "env_name": env} | EVALUATION
        record = RUN | {"stage": stage, "seed": seed, "config": config} | keys
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    def train(self, env, stage, name, seed=0, updates=40, **keys):
        folder = self.folder(env, stage, name, seed, **keys)
        steps = np.arange(1, updates + 1)
        # Seeds differ by what they reach, by a constant, and by how long they take.
        metrics = {"update": steps, "frames": steps * 1000, "seconds": steps * (1.0 + 0.1 * seed)}
        metrics["env/episode_return"] = np.linspace(1, 8, updates) + seed
        if stage in ("offline", "online"):
            metrics["diffusion/accuracy"] = np.linspace(0.1, 0.5, updates)
            metrics["val/score"] = [float(i) if i % 10 == 9 else None for i in range(updates)]
        if stage == "online":
            metrics |= {
                f"dagger/{x}": np.linspace(1, 0.1, updates) for x in ("beta", "buffer_fill", "agreement")
            }
        pl.DataFrame(metrics).write_parquet(folder / "metrics.parquet")
        self.trainings.append(str(folder / "run.json"))
        return folder

    def evaluate(self, env, name, seed=0, returns=None, envs=None, finished=None, frames=40_000, **keys):
        policy = {"ppo": "expert", "random": "random"}.get(re.split("[-_]", name)[0], "planner")
        keys["config"] = {"env_name": env, "policy": policy} | EVALUATION | keys.get("config", {})
        folder = self.folder(env, "inference", name, seed, **keys)
        rng = np.random.default_rng([seed, *name.encode()])
        if returns is None:
            returns = rng.normal(MEANS.get(name, 4.0) + 0.5 * seed, 1.0, 120)
        count = len(returns)
        envs = np.arange(count) % 40 if envs is None else np.array(envs)
        episodes = {
            "env": envs,
            "episode": [(envs[:i] == env).sum() for i, env in enumerate(envs)],
            "finished": np.ones(count, bool) if finished is None else np.array(finished),
            "return": np.asarray(returns, float),
            "length": rng.integers(50, 90, count),
        }
        episodes |= dict(zip(ACHIEVEMENTS, (rng.random((count, 2)) < [0.9, 0.0]).T, strict=True))
        pl.DataFrame(episodes).write_parquet(folder / "episodes.parquet")
        summary = {"achievements": {name: {} for name in ACHIEVEMENTS}, "trained_frames": frames}
        summary["unfinished"] = 0
        (folder / "summary.json").write_text(json.dumps(summary))
        self.evaluations.append(str(folder / "summary.json"))
        return folder

    def study(self, env, name, seed=0, **gaps):
        """What a planner does not know, in nats, on the states of each."""
        folder = self.folder(env, "imitation", name, seed)
        rows = [
            {
                "states": states,
                "by": by,
                "start": 0,
                "entropy": 0.9,
                "cross_entropy": 0.9 + nats,
                "agreement": 0.8,
            }
            for states, value in gaps.items()
            for by, nats in (("all", value), ("time", 9.0))
        ]
        pl.DataFrame(rows).write_parquet(folder / "imitation.parquet")
        return folder

    def run_all(self, envs=(GAME,), seeds=(0,), planners=("offline-demo", "online-demo")):
        """A whole pipeline; a planner's size follows from the length of its preset's name."""
        for env in envs:
            for seed in seeds:
                self.train(env, "ppo", "ppo_rnn", seed)
                self.train(env, "collect", "ppo_rnn", seed)
                for planner in planners:
                    method, preset = planner.split("-")
                    self.train(env, method, preset, seed, parameters=1000 * len(preset))
                for name in ("ppo_rnn", *planners, "random"):
                    self.evaluate(env, name, seed)
        return self

    def of(self, *stages):
        found = zip(self.trainings, read_results(self.trainings), strict=True)
        return [path for path, result in found if result.stage in stages]


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


# --- tables ---


def test_main_table_by_hand(results):
    for seed, values in ((0, [2, 4, 4, 4, 10, 12]), (1, [1, 3, 3, 3, 6, 8])):
        results.evaluate(GAME, "ppo_rnn", seed, 2 * np.array(values))
        results.evaluate(GAME, "offline-demo", seed, values)
    table = policy_table(read_policies(results.evaluations))
    assert table["policy"].to_list() == ["Expert (ppo_rnn)", "Offline BC (demo)"]
    row = table.row(1, named=True)
    # Seeds' means 6 and 4, of six episodes each: 5, and t(1 df) = 12.706 times 1 standard error.
    assert row["return"] == pytest.approx(5.0)
    assert (row["return_low"], row["return_high"]) == pytest.approx((5 - 12.706, 5 + 12.706), abs=1e-3)
    # Of six values the lowest and the highest are left out (a quarter is one and a half).
    assert row["IQM"] == pytest.approx(((4 + 4 + 4 + 10) / 4 + (3 + 3 + 3 + 6) / 4) / 2)
    assert row["percent_of_maximum"] == pytest.approx(100 * 5 / 22)
    assert row["percent_of_expert"] == pytest.approx(50)
    # Each seed's planner has half of what its expert has.
    assert (row["percent_of_expert_low"], row["percent_of_expert_high"]) == pytest.approx((50, 50))
    assert (row["seeds"], row["episodes"]) == (2, 12)
    unlocked = [Result(results.root / GAME / "inference" / "offline-demo" / f"s{s}").episodes for s in (0, 1)]
    achievements = np.mean([x["collect_wood"].mean() + x["collect_diamond"].mean() for x in unlocked])
    assert row["achievements"] == pytest.approx(achievements)
    # Forty thousand frames are no published budget.
    assert (row["published"], row["difference"]) == (None, None)
    # How well these two trainings are known is another question than how a third would turn out.
    assert row["return_low"] < row["episode_ci_low"] < 5 < row["episode_ci_high"] < row["return_high"]


PUBLISHED_PROTOCOL = {
    "eval_protocol": "first_episode", "eval_num_envs": 256,
    "inpaint_history": True, "replan_every": 1, "diffusion_steps_eval": 10,
}  # fmt: skip


def test_published_values_have_their_unit_and_difference(results, tmp_path):
    results.evaluate(FULL, "ppo_rnn", returns=np.full(20, 22.6), frames=999_948_288)
    results.evaluate(FULL, "random", frames=None)
    results.evaluate(GAME, "ppo_rnn", returns=np.full(20, 19.0), frames=999_948_288)
    results.evaluate(
        GAME, "offline-x", returns=np.full(20, 5.0), frames=99_942_400, config=PUBLISHED_PROTOCOL
    )
    rows = list(published_table(read_policies(results.evaluations)).iter_rows(named=True))
    # 15.3 % of 226 is 34.578.
    assert [(row["env"], row["published"]) for row in rows] == [
        *((FULL, pytest.approx(34.578)), (GAME, 19.36), (GAME, 19.78), (GAME, 4.15))
    ]
    assert rows[0]["difference"] == pytest.approx(22.6 - 34.578)
    assert (rows[3]["ours"], rows[3]["difference"]) == (pytest.approx(5), pytest.approx(0.85))
    assert [row["unit"].split()[0] for row in rows] == ["return", "return", "achievements", "return"]
    assert [row["published_frames"] for row in rows] == [10**9, 10**9, 10**9, 10**8]
    returns.draw(results.evaluations, tmp_path / "returns")
    assert "Open diamonds are published values" in (tmp_path / "returns.txt").read_text()
    assert "Published values have the same" in TABLES["policies"].note(read_policies(results.evaluations))


@pytest.mark.parametrize(
    ("frames", "config"),
    [
        (99_942_400, {"eval_protocol": "fixed_steps"}),
        (99_942_400, {"replan_every": 8}),
        (400_000, {}),
        (200_000_000, {}),
        (None, {}),
    ],
)
def test_a_published_value_needs_its_protocol_and_its_budget(results, tmp_path, frames, config):
    """In one seed of two, something else than what was published."""
    for seed, given in enumerate([(99_942_400, {}), (frames, config)]):
        results.evaluate(GAME, "online-x", seed, frames=given[0], config=PUBLISHED_PROTOCOL | given[1])
    assert published_table(read_policies(results.evaluations[:1]))["published"].to_list() == [2.72]
    assert published_table(read_policies(results.evaluations)).is_empty()
    assert "ublished" not in TABLES["policies"].note(read_policies(results.evaluations))
    returns.draw(results.evaluations, tmp_path / "returns")
    assert "ublished" not in (tmp_path / "returns.txt").read_text()


def test_the_paper_evaluates_in_the_published_protocols():
    paper = Plan.load(REPOSITORY / "workflow_config.yaml", {"scale": "paper"})
    shown = [
        *((GAME, "ppo_rnn"), (GAME, "offline-final_classic_ucl"), (GAME, "online-final_classic_ucl")),
        *((GAME, "offline-final_classic_ucl-afresh"), (FULL, "ppo_rnn")),
    ]
    values = []
    for env, name in shown:
        config = paper.configs[Job(env, "inference", name, 42)].flat()
        frames = 10**9 if "ppo" in name else 10**8
        result = SimpleNamespace(config=config, summary={"trained_frames": frames})
        values.append([other.value for other in published(EvaluatedPolicy(env, name, (result,)))])
    assert values == [[19.36, 19.78], [4.15], [2.72], [11.56], [pytest.approx(34.578)]]


def test_the_share_of_the_expert_is_of_the_same_seed_and_evaluation(results):
    """Ratios 0.5 and 0.8 with t(1 df) = 12.706; another evaluation of the planner has no expert beside it."""
    for seed, (expert, planner) in enumerate([(8.0, 4.0), (5.0, 4.0)]):
        results.evaluate(GAME, "ppo_rnn", seed, np.full(4, expert))
        results.evaluate(GAME, "offline-demo", seed, np.full(4, planner))
        results.evaluate(GAME, "offline-demo-long", seed, np.full(4, 9.0), config={"eval_steps": 5000})
    [_, planner, other] = policies = read_policies(results.evaluations)
    assert share_of_expert(planner, policies) == pytest.approx(
        (0.65, 0.65 - 12.706 * 0.15, 0.65 + 12.706 * 0.15), abs=1e-3
    )
    assert share_of_expert(other, policies) is None
    assert share_of_expert(planner, [planner]) is None


def test_an_expert_that_earned_nothing_has_no_shares(results):
    results.evaluate(GAME, "ppo_rnn", returns=np.zeros(4))
    results.evaluate(GAME, "offline-demo", returns=np.ones(4))
    assert policy_table(read_policies(results.evaluations))["percent_of_expert"].to_list() == [None, None]


def test_the_protocol_decides_which_episodes_count(results):
    """Two worlds, of which the second had not ended; later episodes are no first ones."""
    given = {"returns": [4, 6, 1], "envs": [0, 0, 1], "finished": [True, True, False]}
    counted = {}
    for protocol in ("fixed_steps", "first_episode"):
        folder = results.evaluate(GAME, f"offline-{protocol}", config={"eval_protocol": protocol}, **given)
        counted[protocol] = Result(folder).episodes["return"].to_list()
        assert Result(folder).first_episodes["return"].to_list() == [4, 1]
    assert counted == {"fixed_steps": [4, 6], "first_episode": [4, 6, 1]}


def test_episodes_of_another_version_are_named(results):
    folder = results.evaluate(GAME, "offline-demo")
    path = folder / "episodes.parquet"
    pl.read_parquet(path).drop("finished").write_parquet(path)
    with pytest.raises(UserError, match=r"episodes\.parquet: has no finished; delete it"):
        policy_table(read_policies(results.evaluations))


def test_achievement_table_by_hand(results):
    folder = results.evaluate(GAME, "ppo_rnn")
    [wood, diamond] = achievement_table(read_policies(results.evaluations)).iter_rows(named=True)
    unlocked = Result(folder).episodes["collect_wood"]
    assert wood["Expert (ppo_rnn)"] == pytest.approx(100 * unlocked.mean())
    wilson = stats.binomtest(int(unlocked.sum()), 120).proportion_ci(method="wilson")
    assert wood["Expert (ppo_rnn)_low"] == pytest.approx(100 * wilson.low)
    # Never in 120 episodes: the rate may still be up to three per cent.
    assert diamond["Expert (ppo_rnn)"] == 0
    assert 2.5 < diamond["Expert (ppo_rnn)_high"] < 3.5


def test_policies_are_paired_by_seed_and_world(results):
    """First episodes alone, and of every world: in the third, the second policy had not ended."""
    for seed in (0, 1):
        results.evaluate(GAME, "offline-demo", seed, [5, 1, 9, 9], envs=[1, 0, 1, 2])
        results.evaluate(
            *(GAME, "online-demo", seed, [2, 3, 7, 4]), envs=[0, 1, 0, 2], finished=[True, True, True, False]
        )
    results.evaluate(GAME, "random", 5, [1, 1])
    offline, online, random = read_policies(results.evaluations)
    found = differences(offline, online)
    assert len(found) == 2
    assert sorted(found[0]) == [1 - 2, 5 - 3, 9 - 4]
    assert differences(offline, random) == []
    row = improvement_table(read_policies(results.evaluations)).row(0, named=True)
    assert (row["policy"], row["other"]) == ("Offline BC (demo)", "DAgger (demo)")
    assert (row["worlds"], row["seeds"]) == (6, 2)
    assert row["difference"] == pytest.approx(2)
    # Of 12 pairs of episodes 5 beats 2 and 3, 1 none, and each 9 all three.
    assert row["probability_of_improvement"] == pytest.approx(8 / 12)
    # Two seeds can show nothing: their signs agree in half of all patterns.
    assert row["floor_seeds"] == 0.5
    nothing = improvement_table(read_policies(results.evaluations)).row(1, named=True)
    assert (nothing["difference"], nothing["p"], nothing["worlds"]) == (None, None, 0)


def test_first_episodes_are_paired_whatever_else_was_counted(results):
    """Environment e has the same world among few and among many; with less time, an episode is another."""
    results.evaluate(GAME, "offline-demo", returns=np.arange(40) + 1)
    fewer = {"eval_num_envs": 8, "eval_protocol": "first_episode", "replan_every": 4}
    results.evaluate(GAME, "offline-demo-often", returns=np.arange(8), config=fewer)
    results.evaluate(GAME, "online-demo", config={"eval_steps": 100})
    every, few, shorter = read_policies(results.evaluations)
    assert differences(every, few)[0].tolist() == [1] * 8
    assert differences(every, shorter) == []
    assert probability_of_improvement(every, few) is None


def test_gaps_are_of_the_same_worlds(results, tmp_path):
    """Of two seeds: 3 and 1 less than the expert, and locked play 2 less than the first way in both."""
    worlds = np.arange(40.0)
    for seed, less in enumerate((3, 1)):
        for name, reached in (("ppo", worlds), ("offline-demo", worlds - less), ("random", 0 * worlds)):
            results.evaluate(GAME, name, seed, reached)
        results.evaluate(GAME, "ppo-greedy", seed, worlds + 1)
        results.evaluate(GAME, "offline-demo-locked", seed, worlds - less - 2)
    # By name, as a shell lists them, a way to play may come before the first.
    rivals = read_policies(results.evaluations[::-1])
    behind, locked = gap.gaps(rivals)
    assert (behind.policy.name, behind.what) == ("offline-demo", "than the expert")
    assert behind.returns == pytest.approx((-2, -2 - 12.706, -2 + 12.706), abs=1e-3)
    assert (locked.policy.name, locked.what) == ("offline-demo", "locked")
    assert locked.returns == pytest.approx((-2, -2, -2))
    studies = [
        results.study(GAME, "offline-demo", seed, expert=0.1 + seed, planner=0.3 + seed) for seed in (0, 1)
    ]
    unknown = gap.unlearned(read_results(list(map(str, studies))))
    assert unknown["states"].to_list() == ["expert", "planner"]
    assert unknown["gap"].to_list() == pytest.approx([0.6, 0.8])
    gap.draw([*results.evaluations, *map(str, studies)], tmp_path / "gap")
    assert "2 training seeds" in (tmp_path / "gap.txt").read_text()


def test_a_summary_has_shares_seeds_and_differences(results):
    for seed, reached in enumerate((4.0, 8.0)):
        results.evaluate(GAME, "ppo", seed, np.full(40, 10.0))
        results.evaluate(GAME, "offline-demo", seed, np.full(40, reached))
        results.evaluate(GAME, "online-demo", seed, np.full(40, reached + 1))
    study = results.study(GAME, "offline-demo", expert=0.25)
    text = summary([*results.evaluations, str(study)])
    assert text.startswith(f"{GAME}: 2 training seeds, ")
    assert "| Offline BC (demo) | 0.0400 | 6.0 [-19.4, 31.4] | 60 [-194, 314] |" in text
    assert "| DAgger (demo) | 5.00 | 9.00 |" in text
    assert "| DAgger (demo) | than Offline BC (demo) | 1.00 [1.00, 1.00] |" in text
    assert "| expert | 0.250 | 0.800 |" in text
    assert "Commits: 0123456789." in text


def test_what_does_not_tell_running_from_compiling_has_a_cost_too(results):
    """As `sweep` and `imitation`, which pipelines with `sweep: true` or `imitation: true` have."""
    folder = results.study(GAME, "offline-demo", expert=0.1)
    record = json.loads((folder / "run.json").read_text())
    for key in ("run_seconds", "compile_seconds", "frames_per_second"):
        del record[key]
    (folder / "run.json").write_text(json.dumps(record))
    row = cost_table([str(folder)]).row(0, named=True)
    assert (row["minutes"], row["running_minutes"], row["frames_per_second"]) == (1.5, None, None)


def test_costs_are_snakemakes_where_it_measured(results):
    measured = results.train(GAME, "ppo", "ppo_rnn")
    by_hand = results.train(GAME, "offline", "demo")
    log = results.root.parent / "logs" / GAME / "ppo" / "ppo_rnn" / "s0.benchmark.tsv"
    log.parent.mkdir(parents=True)
    log.write_text(
        "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
        "120.0\t0:02:00\t3072.0\t-\t-\t-\t0.0\t0.0\t150.0\t180.0\n"
    )
    rows = list(cost_table([str(measured), str(by_hand)]).iter_rows(named=True))
    assert [row["minutes"] for row in rows] == [2.0, 1.5]
    assert [row["memory_GB"] for row in rows] == [3.0, 2.0]
    assert [row["cpu_minutes"] for row in rows] == [3.0, None]
    assert [row["measured_by"] for row in rows] == ["Snakemake", "the job"]


def test_tables_are_written_in_three_formats(results, tmp_path):
    results.run_all(envs=(GAME, FULL), seeds=(0, 1, 2))
    every = [*results.trainings, *results.evaluations]
    policies = read_policies(results.evaluations)
    frames = {name: table.frame(policies) for name, table in TABLES.items()} | {"costs": cost_table(every)}
    for name, frame in frames.items():
        tables.draw(every if name == "costs" else results.evaluations, tmp_path / "tables" / name)
        assert pl.read_csv(tmp_path / "tables" / f"{name}.csv").shape == frame.shape
        assert_latex((tmp_path / "tables" / f"{name}.tex").read_text(), rows=frame.height)
        markdown = (tmp_path / "tables" / f"{name}.md").read_text()
        lines = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len(lines) == frame.height + 2
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert (
        "3 training seeds, 360 episodes of each policy" in (tmp_path / "tables" / "policies.md").read_text()
    )


def assert_latex(text, rows):
    """Braces and environments balance, every row has every column, and nothing special stands unescaped."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", body) == [("begin", "tabular"), ("end", "tabular")]
    [columns] = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", body)
    cells = [line for line in body.splitlines() if line.endswith(r" \\")]
    assert len(cells) == rows + 1
    assert {len(re.findall(r"(?<!\\)&", line)) for line in cells} == {len(columns) - 1}
    for rule in ("toprule", "midrule", "bottomrule"):
        assert body.count(f"\\{rule}") == 1
    assert not re.search(r"(?<!\\)[_%#]|[–×]", body)


def test_what_readers_see_of_a_table(tmp_path):
    frame = pl.DataFrame(
        {
            "some_name": ["a_b & 50 % {x} ~ ^ \\ $ #", "c|d"],
            "rate": [0.01234, None],
            "rate_low": [0.001, None],
            "rate_high": [0.5, None],
            "percent_of_x": [12.345, 1234.5],
            "count": [1234567, 2],
            "done": [True, False],
            "never": [None, None],
        }
    )
    heads, rows = shown(frame)
    assert heads == ["some name", "rate", "% of x", "count", "done"]
    assert rows[0][1:] == ["0.012 [0.001, 0.500]", "12.3", "1,234,567", "yes"]
    assert rows[1][1:] == ["–", "1,234", "2", "no"]
    assert shown(frame, ["count", "never"]) == (["count"], [["1,234,567"], ["2"]])
    assert shown(frame.clear(), ["count", "never"]) == (["count", "never"], [])
    latex = as_latex(frame, note="Of 3 seeds.\nAnd more.")
    assert_latex(latex, rows=2)
    assert r"a\_b \& 50 \% \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$ \#" in latex
    assert "% Of 3 seeds.\n% And more.\n" in latex
    assert r"c\|d" in as_markdown(frame, note="Of 3 seeds.")
    hostile = pl.DataFrame({"a|b": ["<b>|\\", "a\nb"]})
    assert as_markdown(hostile).splitlines() == [r"| a\|b |", "| --- |", r"| &lt;b>\|\\ |", "| a b |"]
    assert as_markdown(frame, note="Of 3 seeds.").endswith("\n\nOf 3 seeds.\n")
    assert "<td>a_b &amp; 50 % {x}" in as_html(frame)
    write_table(frame, tmp_path / "t", ["count"])
    assert pl.read_csv(tmp_path / "t.csv").columns == frame.columns


def test_numbers_keep_three_digits():
    values = (7.469, 15.31, 162.4, 0.0345, 0.000021, 0.0, 12345.6, -0.5, float("nan"))
    expected = ["7.47", "15.3", "162", "0.0345", "0.0000", "0.00", "12,346", "-0.500", "–"]
    assert [number(value) for value in values] == expected


# --- figures ---


@cache
def demo():
    return Plan.load(REPOSITORY / "workflow_config.yaml", {}).catalogue


def figure_names():
    return [figure.name for figure in demo().paper_figures]


def job(module, results, path):
    """What Snakemake hands to the script of a figure."""
    return SimpleNamespace(
        log=[f"{path}.log"],
        input=results,
        output=SimpleNamespace(run=f"{path}.run.json"),
        params=SimpleNamespace(digest="d1"),
        config={"origins": {"d1": json.dumps({"stage": module})}},
    )


def draw_all(results, folder):
    trained = results.of("ppo", "offline", "online")
    planners = results.of("offline", "online")
    returns.draw(results.evaluations, folder / "returns")
    profiles.draw(results.evaluations, folder / "profiles")
    achievements.draw(results.evaluations, folder / "achievements")
    learning.draw(trained, folder / "learning")
    dagger.draw(results.of("online"), folder / "dagger")
    scaling.draw([*planners, *results.evaluations], folder / "scaling")
    costs.draw([*results.trainings, *results.evaluations], folder / "costs")
    return {name: (folder / f"{name}.txt").read_text() for name in figure_names()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("envs", "seeds", "planners"),
    [
        ((GAME,), (0,), ("offline-demo", "online-demo")),
        ((GAME, FULL), (0, 1, 2), ("offline-demo", "online-demo", "offline-big")),
    ],
    ids=["one seed", "games, seeds and sizes"],
)
def test_figures_and_report_are_made_of_files_alone(results, tmp_path, envs, seeds, planners):
    results.run_all(envs, seeds, planners)
    captions = draw_all(results, tmp_path / "figures")
    for name in figure_names():
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
        assert (tmp_path / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF"), name
    # Captions say how much is behind a figure, and what its intervals mean.
    behind = f"{len(seeds)} training seed{'s' if len(seeds) > 1 else ''}, {120 * len(seeds)} episodes"
    for name in ("returns", "profiles", "achievements", "scaling"):
        assert f"{GAME}: {behind} of each policy" in captions[name], name
        assert ("Student's t" in captions[name]) == (len(seeds) > 1)
    assert ("One training seed" in captions["learning"]) == (len(seeds) == 1)
    assert ("no trend" in captions["scaling"]) == (len(planners) < 3)

    figures = [tmp_path / "figures" / f"{name}.png" for name in figure_names()]
    write_report([*results.trainings, *results.evaluations], figures, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    for text in (*map(label, ("ppo_rnn", *planners, "random")), "48 wide", "0123456789", behind, *envs):
        assert text in page
    assert "$" not in page
    assert re.search(
        r"DAgger \(demo\), returns [\d.]+ \[[-\d.]+, [\d.]+\] an episode: \d+ % \[-?\d+, \d+\] of the expert",
        page,
    )
    # These were trained for forty thousand frames.
    assert "ublished" not in page
    # It opens without a network: all that it shows is in it, and what it links lies beside it.
    links = {f"figures/{name}{suffix}" for name in figure_names() for suffix in (".png", ".pdf")}
    assert {link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if link[0] != "#"} == links


def test_a_scale_without_dagger_says_so(results, tmp_path):
    results.run_all(planners=("offline-demo",))
    dagger.draw(results.of("online"), tmp_path / "dagger")
    assert "No planner" in (tmp_path / "dagger.txt").read_text()


def test_figures_of_one_run(results, tmp_path):
    unlocked.draw([results.run_all().evaluations[0]], tmp_path / "unlocked")
    curves.draw([str(results.root / GAME / "offline" / "demo" / "s0" / "run.json")], tmp_path / "curves")
    for name in ("unlocked", "curves"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_results_give_the_same_figure(results, tmp_path):
    results.run_all()
    for name in ("one", "two"):
        returns.draw(results.evaluations, tmp_path / name)
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


def test_learning_curves_are_averaged_over_seeds(results):
    for seed in (0, 1, 2):
        results.train(GAME, "ppo", "ppo_rnn", seed, updates=20)
    runs = read_results(results.trainings)
    curve = mean_curve(runs, "env/episode_return")
    np.testing.assert_allclose(curve.x, np.arange(1, 21) * 1000)
    # Seeds are 0, 1 and 2 above the first: their mean is 1 above, and t(2 df) = 4.303 of 1 / sqrt(3) around.
    np.testing.assert_allclose(curve.mean, np.linspace(1, 8, 20) + 1)
    np.testing.assert_allclose(curve.interval[1] - curve.mean, 4.303 / np.sqrt(3), rtol=1e-3)
    # Against time, from where the slowest seed begins to where the fastest ends.
    timed = mean_curve(runs, "env/episode_return", "seconds")
    assert (timed.x[0], timed.x[-1]) == pytest.approx((1.2, 20.0))
    one = mean_curve(runs[:1], "env/episode_return")
    assert one.interval is None
    assert mean_curve(runs, "val/score") is None


def test_names_and_looks_of_policies():
    assert label("offline-final_classic_ucl") == "Offline BC (final_classic_ucl)"
    assert label("random") == "Random"
    assert label("ppo_rnn") == "Expert (ppo_rnn)"
    assert len({ROLES[role(policy)].colour for policy in ("offline-x", "online-x", "random", "ppo_rnn")}) == 4
    sizes = looks([f"offline-{size}" for size in "abcdefgh"])
    assert len({str(look.line) for look in sizes.values()}) == len({x.hatch for x in sizes.values()}) == 8
    assert [look.fill for look in sizes.values()] == [ROLES["offline"].colour, *["white"] * 7]


def test_colours_are_told_apart_in_grey_and_by_the_colour_blind():
    """CIE 1976: lightness L* at least 10 apart, colours at least 15 for each kind of dichromat."""
    linear = {role: to_linear(look.colour) for role, look in style.ROLES.items()}
    lightness = sorted(to_lab(rgb)[0] for rgb in linear.values())
    assert np.diff(lightness).min() > 10
    for name, matrix in DICHROMATS.items():
        seen = [to_lab(np.clip(np.array(matrix) @ rgb, 0, 1)) for rgb in linear.values()]
        apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(apart) > 15, name
    looks_of_roles = style.ROLES.values()
    markers, lines = {look.marker for look in looks_of_roles}, {look.line for look in looks_of_roles}
    assert len(markers) == len(lines) + 1 == 5


# Machado, Oliveira and Fernandes (2009), severity 1, of linear RGB.
DICHROMATS = {
    "deuteranope": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanope": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "tritanope": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def to_linear(name):
    rgb = np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def to_lab(rgb):
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    x = to_xyz @ rgb / [0.9505, 1, 1.0888]
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_smooth_keeps_constants_and_length():
    assert smooth(np.full(10, 2.0), 4).tolist() == [2.0] * 10
    assert smooth(np.arange(5.0), 1).tolist() == [0, 1, 2, 3, 4]
    assert smooth(np.arange(5.0), 3)[2] == 2.0
    gap = np.array([1.0, np.nan, 3.0, 4.0])
    np.testing.assert_array_equal(smooth(gap, 3), gap)  # a mean would widen it


# --- files that are not whole ---


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"stage": "ppo"'])
def test_a_record_that_is_not_whole_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_json(path)
    assert f"{path}: is no whole JSON file" in str(raised.value)
    assert f"delete it, and `snakemake {path}` makes it again" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_film_is_one_line_or_reads_the_same(seed, tmp_path):
    """Cut anywhere, or with a bit flipped."""
    path, draw = tmp_path / "film.npz", np.random.default_rng(seed)
    np.savez_compressed(path, **{name: np.arange(900) for name in Film._fields})
    data = bytearray(path.read_bytes())
    place = draw.integers(len(data))
    if seed % 2:
        data[place] ^= 1 << draw.integers(8)
    path.write_bytes(data if seed % 2 else data[:place])
    try:
        assert all((array == np.arange(900)).all() for array in read_film(path))
        return
    except UserError as error:
        message = str(error)
    assert message.startswith(f"{path}: is no whole npz file (")
    assert "\n" not in message


def test_a_film_without_an_array_names_it(tmp_path):
    path = tmp_path / "film.npz"
    np.savez(path, **{name: np.arange(9) for name in Film._fields[:-1]})
    with pytest.raises(UserError, match=f"is no whole npz file .*{Film._fields[-1]}"):
        read_film(path)


def test_a_table_that_is_not_whole_is_named_in_one_line(tmp_path):
    path = tmp_path / "metrics.parquet"
    with pytest.raises(UserError, match=re.escape(f"`snakemake {path}` finishes it")):
        read_parquet(path)
    pl.DataFrame({"update": range(1000)}).write_parquet(path)
    whole = path.read_bytes()
    for content in (b"", b"x" * 100, whole[:200], whole[:-4]):
        path.write_bytes(content)
        with pytest.raises(UserError) as raised:
            read_parquet(path)
        assert f"{path}: is no whole parquet file" in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_figure_of_an_unfinished_run_ends_with_status_2_and_one_line(results, tmp_path, capsys):
    results.run_all()
    (results.root / GAME / "offline" / "demo" / "s0" / "run.json").unlink()
    with pytest.raises(SystemExit) as raised:
        run_script(job("learning", results.trainings, tmp_path / "learning"))
    assert raised.value.code == 2
    [line] = (tmp_path / "learning.log").read_text().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d  error: ", line)
    assert "offline/demo/s0/run.json: is missing, so its run has not finished" in line
    assert line in capsys.readouterr().err
    assert not (tmp_path / "learning.png").exists()
    assert not (tmp_path / "learning.run.json").exists()


def test_a_fault_of_ours_leaves_its_traceback(tmp_path):
    with pytest.raises(SystemExit) as raised:
        run_script(job("no_such_module", [], tmp_path / "figure"))
    assert raised.value.code == 1
    assert "Traceback" in (tmp_path / "figure.log").read_text()


def test_a_figure_leaves_its_record_beside_it(results, tmp_path):
    run_script(job("unlocked", [results.run_all().evaluations[0]], tmp_path / "unlocked"))
    assert json.loads((tmp_path / "unlocked.run.json").read_text()) == {
        "digest": "d1",
        "origin": {"stage": "unlocked"},
    }


def test_a_record_of_another_version_is_named(results, tmp_path):
    folder = results.train(GAME, "offline", "demo")
    record = json.loads((folder / "run.json").read_text())
    del record["parameters"]
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"run\.json: has no parameters; delete it"):
        scaling.draw([str(folder)], tmp_path / "scaling")


# --- the workflow asks for what is made here ---


def test_the_plan_names_every_table():
    assert {figure.name for figure in demo().paper_tables} == {*TABLES, "costs"}


def test_every_figure_is_drawn_by_the_module_that_its_origin_names():
    modules = {figure.module for figure in demo().figures}
    modules |= {picture.name for stage in STAGES.values() for picture in stage.pictures}
    assert len(modules) > 15
    for name in modules:
        module = importlib.import_module(f"remdm.analysis.{name.replace('/', '.')}")
        assert callable(module.draw), name


# --- what the inference stage states ---


def test_a_further_evaluation_is_named_after_the_first_one_of_its_game():
    names = [
        ("a", "offline-demo"),
        ("a", "offline-demo-locked"),
        ("b", "offline-demo-locked"),
        ("a", "random"),
    ]
    policies = [EvaluatedPolicy(env, name, ()) for env, name in names]
    # In game b, `offline-demo-locked` is the planner `demo-locked`, because there is no planner `demo`.
    assert first_evaluations(policies) == [policies[0], policies[2], policies[3]]


def test_summary_by_hand():
    result = summarise(
        Episodes(
            env=np.zeros(2),
            episode_return=np.array([1.0, 3.0]),
            length=np.array([10, 20]),
            achievements=np.array([[1, 0], [1, 1]], bool),
            finished=np.ones(2, bool),
        ),
        ("a", "b"),
    )
    assert result["episodes"] == 2
    assert result["return"]["mean"] == 2.0
    assert result["return"]["std"] == 1.0
    assert result["length"]["mean"] == 15.0
    # Wilson's of two of two: 2 / (2 + z^2) to 1.
    assert result["achievements"]["a"] == {
        "mean": 1.0,
        "low": pytest.approx(0.3424, abs=1e-4),
        "high": 1.0,
        "count": 2,
    }
    assert result["achievements"]["b"]["mean"] == 0.5
    assert result["achievements"]["b"]["count"] == 1
    assert result["achievements_per_episode"]["mean"] == 1.5


def test_a_single_episode_has_no_interval_of_its_mean():
    """In JSON, which has no NaN."""
    one = Episodes(*map(np.array, ([0.0], [2.0], [10], [[True]], [True])))
    returned = summarise(one, ("a",))["return"]
    assert returned == {"mean": 2.0, "low": None, "high": None, "std": 0.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"savefig.bbox": "tight", "savefig.facecolor": "black"},
        {"font.size": 30, "axes.titlelocation": "right", "axes.formatter.use_locale": True},
    ],
    ids=str,
)
def test_a_users_matplotlibrc_reaches_no_figure(results, tmp_path, settings):
    results.evaluate(GAME, "ppo_rnn")
    draw_figure("returns", results.evaluations, tmp_path / "usual")
    with matplotlib.rc_context(settings):
        draw_figure("returns", results.evaluations, tmp_path / "set")
        assert {name: matplotlib.rcParams[name] for name in settings} == settings
    assert (tmp_path / "set.png").read_bytes() == (tmp_path / "usual.png").read_bytes()
