"""What would run again, on the real DAG: copies of the repository with the results of a finished run."""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.smallest import GAME, stand_in, write_config

pytestmark = pytest.mark.slow

# The rules of which one run, or one name, has several jobs.
NAMED = (
    "curves", "unlocked", "inference", "table", "ablations",
    "film", "episode", "path", "unlocks", "denoising", "viewer",
)  # fmt: skip
SOURCES = ("Snakefile", "remdm", "configs", "rules", "scripts", "report", "profiles")
SHOWING_EVALUATIONS = {
    "returns", "profiles", "achievements", "scaling", "costs", "report", "table:policies", "table:published",
    "table:improvement", "table:achievements", "table:costs",
}  # fmt: skip
PAPER = SHOWING_EVALUATIONS | {"learning", "dagger"}


@pytest.fixture
def clone(pipeline, tmp_path):
    """A clone of the repository that has the results of a finished run, and what Snakemake knows of it."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in SOURCES:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    for name in ("results", ".snakemake"):
        shutil.copytree(pipeline / name, folder / name)
    write_config(folder / "workflow_config.yaml")
    return folder


def run(folder, *command):
    """A command of the clone's own code."""
    env = stand_in(folder)
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True
    )


def would_run(folder, *arguments):
    """The jobs of a dry run: rule, and for those of one run its stage or policy, and seed if not 0."""
    done = run(folder, "snakemake", "-n", *arguments)
    assert done.returncode == 0, done.stderr
    jobs = set()
    for rule, text in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)+)", done.stdout + done.stderr, re.M):
        found = re.search(r"wildcards: (.*)", text)
        wildcards = dict(pair.split("=") for pair in found[1].split(", ")) if found else {}
        name = wildcards.get("table", wildcards.get("stage" if rule == "curves" else "name"))
        job = f"{rule}:{name}" if rule in NAMED else rule
        seed = wildcards.get("seed", "0")
        job = wildcards.get("figure", job)
        jobs.add(job if seed == "0" else f"{job}@{seed}")
    return jobs - {"all"}


def configure(folder, **keys):
    path = folder / "workflow_config.yaml"
    config = yaml.safe_load(path.read_text())
    for name, value in keys.items():
        place = config["scales"]["demo"] if name in config["scales"]["demo"] else config
        place[name] = {**place[name], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(config))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def evaluated(*policies):
    return {f"{rule}:{policy}" for rule in ("inference", "unlocked") for policy in policies}


PICTURES = ("episode", "path", "unlocks", "viewer")


def filmed(*policies):
    """The films of some policies, what is drawn of them, and the page that shows them."""
    drawn = {f"{rule}:{policy}" for rule in ("film", *PICTURES) for policy in policies}
    return drawn | {f"denoising:{policy}" for policy in policies if "-" in policy} | {"gallery"}


def played(*policies):
    return evaluated(*policies) | filmed(*policies)


EVERYONE = ("ppo_rnn", "offline-demo", "online-demo", "random")
PLANNERS = {"offline", "online", "curves:offline", "curves:online"}
ARMS = {"ablations:baseline_rl", "ablations:lora", "curves:ablations"}  # which start from offline BC
SUITE = ARMS | {"ablation_report"}


def test_nothing_is_stale_in_a_copy_with_new_times_in_any_order(clone):
    files = [path for path in clone.rglob("*") if path.is_file()]
    random.Random(0).shuffle(files)
    for i, path in enumerate(files):
        os.utime(path, (1e9 + i, 1e9 + i))
    assert would_run(clone) == set()


def test_an_evaluation_key(clone):
    configure(clone, overrides={"eval_steps": 401})
    assert would_run(clone) == evaluated(*EVERYONE) | SHOWING_EVALUATIONS | SUITE
    assert why(clone, f"results/{GAME}/inference/random/s0/summary.json") == [
        f"results/{GAME}/inference/random/s0: stale", "  eval_steps: 400 -> 401",
    ]  # fmt: skip


def test_the_learning_rate(clone):
    configure(clone, overrides={"lr": 2e-3})
    assert would_run(clone) == PLANNERS | played("offline-demo", "online-demo") | PAPER | SUITE
    lines = why(clone, f"results/{GAME}/inference/online-demo/s0")
    assert lines[0] == f"results/{GAME}/inference/online-demo/s0: stale"
    assert re.fullmatch(r"  checkpoint_path: \w{16} -> \w{16}", lines[1])
    assert lines[2:] == [f"    results/{GAME}/online/demo/s0: stale", "      lr: 0.001 -> 0.002"]


def test_the_body_of_a_sampler(clone):
    edit(clone / "remdm/diffusion/sampling.py", "1e-12", "1e-11")
    assert would_run(clone) == PLANNERS | played(*EVERYONE) | PAPER | SUITE
    [_, line] = why(clone, f"results/{GAME}/offline/demo/s0")
    assert re.fullmatch(r"  remdm/diffusion/sampling.py: its code has changed \(\w{12} -> \w{12}\)", line)


def test_comments_and_layout(clone):
    path = clone / "remdm/diffusion/sampling.py"
    edit(
        path, " = jnp.cumsum(probs, axis=-1)", " = jnp.cumsum(\n        probs,  # why\n        axis=-1\n    )"
    )
    assert would_run(clone) == set()


def test_a_colour(clone):
    edit(clone / "remdm/analysis/returns.py", '"black"', '"navy"')
    assert would_run(clone) == {"returns"}
    lines = why(clone, "results/paper/figures/returns.png")
    assert lines[0] == "results/paper/figures/returns.png: stale"
    assert "remdm/analysis/returns.py: its code has changed" in lines[1]
    assert len(lines) == 2


def test_how_runs_are_watched_and_placed(clone):
    configure(clone, runtime={"progress": False, "compilation_cache_dir": None, "wandb_project": "mine"})
    edit(clone / "profiles/default/config.yaml", "cores: all", "cores: 1")
    assert would_run(clone) == set()


def test_a_preset_that_no_run_uses(clone):
    (clone / "configs/final_classic_ucl.yaml").write_text("lr: 1e-5\n")
    assert would_run(clone) == set()


def test_a_deleted_figure(clone):
    figure = clone / "results/paper/figures/returns.png"
    figure.unlink()
    assert would_run(clone) == {"returns"}
    assert why(clone, "results/paper/figures/returns.png") == [
        "results/paper/figures/returns.png: returns.png is missing"
    ]


def test_a_new_seed(clone):
    configure(clone, seeds=[0, 1])
    own = {"ppo", "collect", "curves:ppo", "curves:collect"} | PLANNERS | evaluated(*EVERYONE) | ARMS
    assert would_run(clone) == {f"{job}@1" for job in own} | PAPER | {"ablation_report"}
    assert why(clone, f"results/{GAME}/ppo/ppo_rnn/s1") == [f"results/{GAME}/ppo/ppo_rnn/s1: not made yet"]


def test_what_an_interrupted_run_left(clone):
    for path in (f"{GAME}/online", f"{GAME}/inference/online-demo", f"{GAME}/film/online-demo", "paper"):
        shutil.rmtree(clone / "results" / path)
    assert would_run(clone) == {"online", "curves:online"} | played("online-demo") | PAPER


def test_another_expert_from_elsewhere(clone):
    mine = clone / "mine"
    shutil.copytree(clone / f"results/{GAME}/ppo/ppo_rnn/s0/checkpoint", mine)
    configure(clone, experts=[{"checkpoint": "mine"}])
    path = clone / "workflow_config.yaml"
    config = yaml.safe_load(path.read_text())
    keys = config["scales"]["demo"]["overrides"]
    of_an_expert = ("layer_size", "ppo_", "icm_", "e3b_")
    for key in [key for key in keys if key.startswith(of_an_expert)]:
        del keys[key]
    path.write_text(yaml.safe_dump(config))
    target = f"results/{GAME}/offline/demo/s0/run.json"
    done = run(clone, "snakemake", target, "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert would_run(clone, target) == set()
    metadata = json.loads((mine / "metadata.json").read_text())
    (mine / "metadata.json").write_text(json.dumps({**metadata, "frames": 1}))
    assert would_run(clone, target) == {"offline"}
    everything = PLANNERS | {"collect", "curves:collect"} | played("expert", *EVERYONE[1:3]) | PAPER | SUITE
    # Random play's achievements are shown beside the expert's.
    assert would_run(clone) == everything | {"unlocks:random", "viewer:random"}


def test_results_of_older_code_are_accepted_and_a_key_is_noticed_after_that(clone):
    edit(clone / "remdm" / "play" / "rollout.py", "\n\ndef start(", "\n\nUNUSED = 1\n\n\ndef start(")
    assert would_run(clone) >= PLANNERS | {"ppo"}
    done = run(clone, "remdm.cli", "accept", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "remdm/play/rollout.py: its code has changed" in done.stdout
    assert would_run(clone) == set()
    configure(clone, overrides={"lr": 2e-3})
    assert would_run(clone) == PLANNERS | played("offline-demo", "online-demo") | PAPER | SUITE


def test_results_without_what_snakemake_knows_of_them(clone):
    shutil.rmtree(clone / ".snakemake")
    assert would_run(clone) == set()
    configure(clone, overrides={"lr": 2e-3})
    done = run(clone, "snakemake", "-n")
    assert f"note: results/{GAME}/offline/demo/s0/run.json: made with other settings or code" in done.stderr
    forced = re.search(r"--forcerun (.*) makes them again", done.stderr)[1].split()
    expected = PLANNERS | played("offline-demo", "online-demo") | PAPER | SUITE
    assert would_run(clone, "--forcerun", *forced) == expected


def test_provenance_leads_from_a_moved_figure_to_all_that_made_it(clone, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(clone / "results", moved / "results")
    done = run(clone, "remdm.cli", "provenance", str(moved / "results/paper/figures/returns.png"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "returns.png  digest " in lines[0]
    played = moved / f"results/{GAME}/inference/online-demo/s0"
    at = next(i for i, line in enumerate(lines) if line.strip().startswith(str(played)))
    record = json.loads((played / "run.json").read_text())
    assert f"seed 0  commit {record['git_commit'][:11]}  digest {record['digest']}" in lines[at]
    assert lines[at + 1] == f"    checkpoint_path: results/{GAME}/online/demo/s0/checkpoint"
    assert lines[at + 2].strip().startswith(f"{moved}/results/{GAME}/online/demo/s0  seed 0")
    assert lines[at + 4].strip().startswith(f"{moved}/results/{GAME}/ppo/ppo_rnn/s0  seed 0")
    assert "made again" not in done.stdout
    record["digest"] = "another"
    (played / "run.json").write_text(json.dumps(record))
    done = run(clone, "remdm.cli", "provenance", str(moved / "results/paper/figures/returns.png"))
    assert "digest another; made again since then" in done.stdout


def why(folder, target):
    done = run(folder, "remdm.cli", "why", target)
    assert done.returncode == 0, done.stderr
    return [re.sub(r" \(made at commit \w+\)", "", line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("command", ["why", "provenance"])
def test_records_that_are_damaged_or_missing_are_named(clone, command):
    record = clone / f"results/{GAME}/inference/random/s0/run.json"
    record.write_text("{")
    done = run(clone, "remdm.cli", command, str(record.parent.relative_to(clone)))
    assert done.returncode == 2
    assert "run.json: is no record of a result; delete it, and the result is made again" in done.stderr
    done = run(clone, "remdm.cli", command, "results/nowhere.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: results/nowhere.png: ")
    assert len(done.stderr.splitlines()) == 1
