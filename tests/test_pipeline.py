"""The whole pipeline for real: Snakemake, Craftax, training, evaluation and report, at the smallest size."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
import yaml

import remdm
from remdm import cli
from remdm.workflow.plan import Plan
from tests import toy
from tests.conftest import REPOSITORY
from tests.kill import updates_saved
from tests.smallest import GAME, OFFLINE_ALONE, SMALLEST, SNAKEMAKE, snakemake, stand_in, write_config

FILMED = {"film.npz", "episode.gif", "path.png", "unlocks.png", "episode.html"}
FILMED |= {"run.json", "episode.run.json", "path.run.json", "unlocks.run.json", "episode.html.run.json"}


def test_snakemake_makes_a_report_from_nothing(tmp_path):
    """An expert, a planner of it, their evaluation, figures and the page that shows them; then no more.

    The game is a small one: Craftax compiles for minutes, and the pipeline of the second tier plays it.
    """
    overrides = {key: value for key, value in SMALLEST.items() if key not in OFFLINE_ALONE}
    config = write_config(tmp_path / "smallest.yaml", overrides, ["online"])
    arguments = ["results/paper/report.html", "--configfile", str(config)]
    done = snakemake(tmp_path, *arguments, environment=stand_in())
    assert done.returncode == 0, done.stderr[-4000:]
    report = (tmp_path / "results/paper/report.html").read_text()
    plan = Plan.load(config, {})
    for job in plan.catalogue.of("ppo", "online", "inference"):
        record = json.loads((tmp_path / job.record).read_text())
        assert record["digest"] == plan.digest(job)
        assert record["config"]["seed"] == 0
    for figure in plan.catalogue.paper_figures:
        caption = (tmp_path / f"{figure.path}.txt").read_text()
        assert f"{figure.name}.png" in report
        assert caption.strip()
    metrics = pl.read_parquet(tmp_path / "results" / GAME / "online/demo/s0/metrics.parquet")
    assert metrics["frames"].to_list() == [128, 256, 384]
    assert metrics["diffusion/loss"].is_finite().all()
    # What is done and left is told after every job, and once a minute.
    told = re.findall(r"^status: (\d+) of (\d+) jobs done in [\d.]+ min; .* left", done.stderr, re.M)
    jobs = (
        len(plan.catalogue.of("ppo", "collect", "online", "inference"))
        + len(plan.catalogue.paper_figures)
        + 1
    )
    assert sorted({int(number) for number, _ in told} - {0}) == list(range(1, jobs))
    assert {int(total) for _, total in told} == {jobs}
    again = snakemake(tmp_path, *arguments, environment=stand_in())
    assert "Nothing to be done" in again.stderr + again.stdout


@pytest.mark.slow
def test_report_and_results_are_where_the_layout_says(pipeline):
    results = pipeline / "results"
    assert (results / "paper" / "report.html").stat().st_size > 3_000
    training = {"checkpoint", "metrics.parquet", "curves.png", "curves.run.json", "run.json"}
    plan = Plan.load(pipeline / "smallest.yaml", {})
    assert all((pipeline / target).exists() for target in plan.targets)
    # Each is drawn by its own module.
    figures = [
        (pipeline / figure.path).with_suffix(".png").read_bytes() for figure in plan.catalogue.paper_figures
    ]
    assert len(set(figures)) == len(figures)
    for place, names in {
        "ppo/ppo_rnn": training,
        "collect/ppo_rnn": {
            "trajectories.npz",
            "metrics.parquet",
            "curves.png",
            "curves.run.json",
            "run.json",
        },
        "offline/demo": training | {"checkpoint_best"},
        "online/demo": training | {"checkpoint_best"},
        **{
            f"ablations/{arm}": training | {"checkpoint_best", "pretrained.parquet", "evaluation.npz"}
            for arm in ("baseline_rl", "lora")
        },
        **{
            f"inference/{name}": {
                "episodes.parquet",
                "summary.json",
                "unlocked.png",
                "unlocked.run.json",
                "run.json",
            }
            for name in ("ppo_rnn", "offline-demo", "online-demo", "random")
        },
        **{f"film/{name}": FILMED for name in ("ppo_rnn", "random")},
        **{
            f"film/{name}": FILMED | {"denoising.png", "denoising.run.json"}
            for name in ("offline-demo", "online-demo")
        },
    }.items():
        assert {path.name for path in (results / GAME / place / "s0").iterdir()} == names, place


@pytest.mark.slow
def test_a_second_call_has_nothing_to_do(pipeline):
    done = snakemake(pipeline, "--configfile", str(pipeline / "smallest.yaml"), environment=stand_in())
    assert done.returncode == 0
    assert "Nothing to be done" in done.stderr + done.stdout


@pytest.fixture(scope="module")
def craftax(tmp_path_factory):
    """The real game through every stage: an expert, what it collects, planners, an arm, a game and a film."""
    folder = tmp_path_factory.mktemp("craftax")
    config = write_config(folder / "smallest.yaml")
    made = ["collect/ppo_rnn", "online/demo", "ablations/lora", "inference/offline-demo"]
    targets = [f"results/{GAME}/{name}/s0/run.json" for name in made]
    targets += [f"results/{GAME}/film/offline-demo/s0/{name}.run.json" for name in ("episode", "path")]
    done = snakemake(folder, *targets, "--configfile", str(config), "--quiet", "progress")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "status:" not in done.stderr  # for it takes longer than the minute between two lines
    return folder / "results" / GAME


@pytest.mark.slow
def test_every_stage_plays_the_real_game(craftax):
    for place, metrics in {
        "ppo/ppo_rnn": ["ppo/loss", "ppo/grad_norm", "exploration/reward", "exploration/inverse_loss"],
        "offline/demo": ["diffusion/loss", "diffusion/grad_norm"],
        "online/demo": ["diffusion/loss", "diffusion/grad_norm"],
        "ablations/lora": ["diffusion/loss", "diffusion/grad_norm"],
    }.items():
        table = pl.read_parquet(craftax / place / "s0" / "metrics.parquet")
        assert all(table[metric].is_finite().all() for metric in metrics), place
    summary = json.loads((craftax / "inference/offline-demo/s0/summary.json").read_text())
    assert summary["episodes"] > 0
    assert len(summary["achievements"]) == 22
    film = np.load(craftax / "film/offline-demo/s0/film.npz")
    assert len(film["frames"]) == len(film["actions"]) + 1 > 2
    assert film["unlocked_at"].shape[1] == 22
    assert (craftax / "film/offline-demo/s0/episode.gif").stat().st_size > 3_000


@pytest.mark.slow
def test_collected_file_holds_contiguous_trajectories(craftax):
    folder = craftax / "collect/ppo_rnn/s0"
    obs, actions, rewards, dones, metadata = remdm.load_trajectories(folder / "trajectories.npz")
    assert obs.shape == (8, 100, 1345)
    assert actions.shape == rewards.shape == dones.shape == (8, 100)
    assert ((actions >= 0) & (actions < 17)).all()
    assert ((obs >= 0) & (obs <= 1)).all()
    # The last rows were written too, and time runs along the second axis: steps differ little.
    assert (obs[:, -1].sum(axis=-1) > 0).all()
    assert np.abs(np.diff(obs, axis=1)).sum() < 0.5 * np.abs(np.diff(obs, axis=0)).sum() * 7 / 8 * 100
    expert = json.loads((craftax / "ppo/ppo_rnn/s0/run.json").read_text())
    assert (metadata.env_name, metadata.seed) == (GAME, 0)
    assert metadata.expert_digest == expert["digest"]


@pytest.mark.slow
def test_metrics_and_records(pipeline):
    for stage, updates in (("ppo", 3), ("offline", 3), ("online", 3)):
        name = "ppo_rnn" if stage == "ppo" else "demo"
        folder = pipeline / "results" / GAME / stage / name / "s0"
        table = pl.read_parquet(folder / "metrics.parquet")
        assert table["update"].to_list() == [1, 2, 3][:updates]
        assert table["frames"].to_list() == [128, 256, 384]
        run = json.loads((folder / "run.json").read_text())
        assert run["seed"] == run["config"]["seed"] == 0
        assert {"digest", "packages", "device", "compile_seconds", "frames_per_second"} <= set(run)
        learnt = {"ppo": ["ppo/loss", "ppo/grad_norm", "exploration/reward"]}.get(stage, ["diffusion/loss"])
        assert all(table[metric].is_finite().all() for metric in learnt)
        if stage != "ppo":
            # Due after every second update, and at the end.
            assert table["val/score"].is_null().to_list() == [True, False, False]


@pytest.mark.slow
def test_episodes_and_summary_agree(pipeline):
    folder = pipeline / "results" / GAME / "inference" / "random" / "s0"
    episodes = pl.read_parquet(folder / "episodes.parquet")
    summary = json.loads((folder / "summary.json").read_text())
    episodes = episodes.filter("finished")
    assert summary["episodes"] == episodes.height > 10
    assert summary["return"]["mean"] == pytest.approx(episodes["return"].mean(), abs=1e-4)
    assert summary["achievements"]["collect_sapling"]["mean"] == pytest.approx(
        episodes["collect_sapling"].mean()
    )
    assert (episodes["length"] <= 12).all()


@pytest.mark.slow
def test_the_command_evaluates_a_checkpoint_of_the_pipeline(pipeline, tmp_path):
    """The same seed and settings by hand: the same episodes."""
    results = pipeline / "results" / GAME
    keys = tmp_path / "keys.yaml"
    keys.write_text(yaml.safe_dump({**SMALLEST, "temperature": 1.0, "inpaint_history": False}))
    arguments = ["inference", "--config", str(keys), "--seed", "0", "--progress", "false", "--no-use-wandb"]
    checkpoint = str(results / "offline/demo/s0/checkpoint")
    cache = str(REPOSITORY / ".tests-cache")
    paths = ["--checkpoint-path", checkpoint, "--output", "out", "--compilation_cache_dir", cache]
    command = [sys.executable, "-m", "remdm.cli", *arguments, *paths]
    done = subprocess.run(command, cwd=tmp_path, env=stand_in(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mine = pl.read_parquet(tmp_path / "out" / "episodes.parquet")
    assert mine.equals(pl.read_parquet(results / "inference/offline-demo/s0/episodes.parquet"))
    assert (tmp_path / "out" / "unlocked.png").exists()


@pytest.mark.slow
def test_wrong_checkpoints_are_refused(pipeline, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    results = pipeline / "results" / GAME
    expert, planner = (str(results / place / "s0/checkpoint") for place in ("ppo/ppo_rnn", "offline/demo"))
    for arguments, message in (
        (["offline", "--ppo_checkpoint_path", planner], "its kind is planner, but expert is needed"),
        (
            ["inference", "--checkpoint_path", expert, "--policy", "planner"],
            "its kind is expert, but planner is needed",
        ),
        (
            ["inference", "--checkpoint_path", planner, "--env_name", "Craftax-Symbolic-v1"],
            f"its env_name is {GAME}, but Craftax-Symbolic-v1 is needed",
        ),
    ):
        assert cli.main([*arguments, "--output", "out", "--use-wandb", "false"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bad_workflow_configuration_stops_before_the_first_job(tmp_path):
    done = snakemake(tmp_path, "--config", "scale=dmo")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "did you mean demo" in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_snakemake_finds_nothing_to_lint():
    lint = snakemake(REPOSITORY, "--lint")
    assert "Congratulations" in lint.stdout + lint.stderr, lint.stdout + lint.stderr


@pytest.mark.slow
def test_uv_resolves_to_the_lock_of_record(tmp_path):
    """A fresh resolution exports to exactly `requirements.lock`."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    export = subprocess.run(
        [
            os.environ.get("UV", "uv"), "export", "--quiet", "--no-emit-project", "--all-extras",
            "--no-extra", "cuda12", "--all-groups", "--no-header", "--no-annotate",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert export.stdout == (REPOSITORY / "requirements.lock").read_text()


@pytest.mark.slow
def test_an_interrupted_job_goes_on_where_it_was(tmp_path):
    """The job is killed and retried by Snakemake, which Ctrl-C then stops; the next call finishes."""
    updates = 2000
    overrides = {**SMALLEST, "ppo_total_timesteps": 128 * updates}
    config = write_config(tmp_path / "long.yaml", overrides, checkpoint_every_minutes=1e-3)
    folder = tmp_path / "results" / GAME / "ppo" / "ppo_rnn" / "s0"
    log = tmp_path / "logs" / GAME / "ppo" / "ppo_rnn" / "s0.log"
    target = str((folder / "run.json").relative_to(tmp_path))
    command = [*SNAKEMAKE, target, "--retries", "1", "--directory", str(tmp_path)]
    command += ["--configfile", str(config)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet, start_new_session=True, env=stand_in())

    def wait_for_more_than(updates):
        while updates_saved(tmp_path, whole=True) <= updates:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)

    wait_for_more_than(0)
    os.kill(int((folder / ".lock").read_text().split()[1]), signal.SIGKILL)
    reached = updates_saved(tmp_path, whole=True)
    wait_for_more_than(reached)
    assert "resuming from update" in log.read_text()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() != 0
    while (folder / ".lock").exists():  # Snakemake does not wait for the job, which still saves its state
        time.sleep(0.05)
    assert not (folder / "run.json").exists()
    reached = updates_saved(tmp_path, whole=True)
    assert 0 < reached < updates

    done = subprocess.run(command, capture_output=True, text=True, env=stand_in())
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"resuming from update {reached} of {updates}" in log.read_text()
    assert pl.read_parquet(folder / "metrics.parquet")["update"].to_list() == list(range(1, updates + 1))
    assert not list((tmp_path / "state").iterdir())


@pytest.mark.slow
def test_what_a_job_finished_after_snakemake_was_killed_is_kept(tmp_path):
    """Snakemake and its job are killed before a result is there that Snakemake then takes for incomplete."""
    config = write_config(tmp_path / "smallest.yaml")
    plan = Plan.load(config, {})
    job = plan.catalogue.of("ppo")[0]
    folder, target = tmp_path / job.folder, job.record
    command = [*SNAKEMAKE, target, "--directory", str(tmp_path), "--configfile", str(config)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not list((tmp_path / ".snakemake" / "incomplete").glob("*")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "weights").write_text("of weeks")
    (folder / "metrics.parquet").touch()
    record = {"digest": plan.digest(job), "origin": asdict(plan.origin_of(job))}
    (folder / "run.json").write_text(json.dumps(record))

    def run(*arguments):
        return snakemake(tmp_path, target, "--configfile", str(config), *arguments)

    assert "--unlock" in run().stderr
    assert run("--unlock").returncode == 0
    done = run()
    assert done.returncode == 0, done.stderr[-3000:]
    log = (tmp_path / f"{job.folder.replace('results', 'logs', 1)}.log").read_text()
    assert f"{job.folder}: was finished when Snakemake was killed; kept as it is" in log
    assert (folder / "checkpoint" / "weights").read_text() == "of weeks"
    assert not list((tmp_path / "state").iterdir())
    assert not list((tmp_path / ".snakemake" / "incomplete").iterdir())
    write_config(config, {**SMALLEST, "layer_size": 24})
    assert "Params have changed" in run("--dry-run").stdout


REDUCED = [
    "--num_envs", "8", "--num_steps", "32", "--num_minibatches", "2", "--update_epochs", "1",
    "--d_model", "16", "--n_heads", "2", "--n_layers", "1", "--d_ff", "16", "--obs_encoder_width", "16",
    "--diffusion_steps", "3", "--val_diffusion_steps", "3", "--val_steps", "4", "--val_num_envs", "4",
    "--online_total_timesteps", "256", "--lr_warmup_frames", "0",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("preset", [None, "classic_exp_d_3M", "craftax_exp_d_7M"])
def test_smoke_passes_on_both_games(preset, tmp_path, monkeypatch, capsys):
    """All of DAgger for real, and one update of a published preset of each game at reduced width.

    The preset of Classic, which the first case plays, is for a small game here.
    """
    if preset == "classic_exp_d_3M":
        monkeypatch.setattr("remdm.envs.batch.load_game", lambda name: toy.GAME)
    monkeypatch.chdir(tmp_path)
    arguments = [] if preset is None else ["--config", preset, *REDUCED]
    cache = ["--compilation_cache_dir", str(REPOSITORY / ".tests-cache")]
    assert cli.main(["smoke", *arguments, *cache, "--seed", "0", "--no-use-wandb", "--output", "out"]) == 0
    assert "smoke: passed" in capsys.readouterr().err
    table = pl.read_parquet(tmp_path / "out" / "metrics.parquet")
    assert table["update"].to_list() == ([1] if arguments else [1, 2, 3, 4, 5])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "checkpoint", "checkpoint_best", "metrics.parquet", "curves.png", "run.json",
    }  # fmt: skip
