"""What makes a job stale, on copies of the real sources and the real workflow configuration."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from remdm.analysis.style import label, role
from remdm.base.errors import UserError
from remdm.base.files import write_json
from remdm.base.machine import check_interpreter
from remdm.base.reader import read_mapping
from remdm.config.offline import OfflineConfig
from remdm.workflow import source
from remdm.workflow.digest import content_digest, figure_origin
from remdm.workflow.plan import Job, Plan
from remdm.workflow.why import explain
from tests.conftest import REPOSITORY
from tests.smallest import SNAKEMAKE

WORKFLOW = REPOSITORY / "workflow_config.yaml"
GAME = "Craftax-Classic-Symbolic-v1"


def digests(plan):
    return {f"{job.stage}/{job.name}": plan.digest(job) for job in plan.jobs}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def demo(**keys):
    """The plan of the demo with other keys of the scale."""
    scales = read_mapping(WORKFLOW)["scales"]
    scales["demo"] |= keys
    return Plan.load(WORKFLOW, {"scales": scales})


def with_overrides(**overrides):
    return digests(demo(overrides=overrides))


@pytest.fixture(scope="module")
def base():
    return digests(Plan.load(WORKFLOW, {}))


ABLATIONS = {f"ablations/{name}" for name in ("baseline_rl", "llrd", "low_t", "head_only", "running_stats")}
POLICIES = ("ppo", "offline-demo", "online-demo", "random")
EVALUATIONS = {f"inference/{name}" for name in POLICIES}
FILMS = {f"film/{name}" for name in POLICIES}


def played(*policies):
    """The evaluations and films of some policies."""
    return {f"{stage}/{name}" for stage in ("inference", "film") for name in policies}


@pytest.mark.parametrize(
    ("override", "stale"),
    [
        ({}, set()),
        ({"eval_steps": 50}, EVALUATIONS | ABLATIONS),
        ({"film_steps": 50}, FILMS),
        (
            {"lr": 2e-4},
            {"offline/demo", "online/demo"} | played("offline-demo", "online-demo") | ABLATIONS,
        ),
        ({"ablation_ema_decay": 0.8}, ABLATIONS),
        ({"dagger_train_passes": 2}, {"online/demo"} | played("online-demo")),
        ({"collect_num_steps": 6400}, {"collect/ppo"}),
    ],
)
def test_a_key_makes_stale_the_stages_that_have_it_and_what_follows(base, override, stale):
    assert changed(base, with_overrides(**override)) == stale


def test_an_expert_key_makes_stale_everything_but_random_play(base):
    assert changed(base, with_overrides(ppo_lr=1e-3)) == set(base) - played("random")


def test_how_a_run_is_watched_makes_nothing_stale(base):
    runtime = {"progress": False, "compilation_cache_dir": None, "chunk_updates": 3}
    assert digests(Plan.load(WORKFLOW, {"runtime": runtime})) == base


def test_a_part_of_the_runtime_leaves_the_rest_as_the_file_has_it():
    """As `snakemake --config 'runtime={progress: false}'` gives it."""
    runtime = Plan.load(WORKFLOW, {"runtime": {"progress": "false", "wandb_entity": "null"}}).runtime
    assert (runtime.progress, runtime.use_wandb, runtime.wandb_entity) == (False, False, None)


@pytest.mark.parametrize("where", ["runtime", "scale", "seeds", "overrides"])
def test_what_stands_for_gigabytes_is_shown_in_part(where):
    """Of `snakemake --configfile` aliases are resolved already."""
    bomb = "x"
    for _ in range(10):
        bomb = [bomb] * 9
    scales = read_mapping(WORKFLOW)["scales"]
    scales["demo"] |= {"seeds": bomb} if where == "seeds" else {"overrides": {"rnd_lr": bomb}}
    given = {where: bomb} if where in ("runtime", "scale") else {"scales": scales}
    with pytest.raises(UserError) as refused:
        Plan.load(WORKFLOW, given)
    assert len(str(refused.value)) < 5000


@pytest.mark.parametrize("seed", [2**32, -1, 1e30])
def test_a_seed_that_jax_would_cut_is_refused(seed):
    with pytest.raises(UserError, match=r"scales\.demo\.seeds\.0 = "):
        demo(seeds=[seed])


@pytest.fixture
def copy(package):
    """A copy of the package whose files can be edited; returns a function that digests it anew."""
    folder, forget = package

    def take():
        forget()
        return digests(Plan.load(WORKFLOW, {}))

    return folder, take


def test_digests_do_not_depend_on_where_the_sources_lie(copy, base):
    assert copy[1]() == base


def test_comments_docstrings_and_layout_make_nothing_stale(copy):
    package, take = copy
    before = take()
    path = package / "diffusion" / "sampling.py"
    text = path.read_text().replace('"""Reverse diffusion', '"""Another docstring: reverse diffusion')
    path.write_text(
        "# a comment\n\n\n"
        + text.replace(" = jnp.cumsum(probs, axis=-1)", " = jnp.cumsum(\n        probs, axis=-1)")
    )
    assert take() == before


def test_a_samplers_body_makes_stale_the_stages_that_reach_it(copy):
    package, take = copy
    before = take()
    path = package / "diffusion" / "sampling.py"
    path.write_text(path.read_text().replace("1e-12", "1e-11"))
    assert changed(before, take()) == {"offline/demo", "online/demo"} | EVALUATIONS | FILMS | ABLATIONS


def test_what_offline_never_imports_leaves_it_alone(copy):
    package, take = copy
    before = take()
    path = package / "planners" / "online.py"
    path.write_text(path.read_text() + "\nX = 1\n")
    assert changed(before, take()) == {"online/demo"} | played("online-demo")


def test_reach_follows_imports_inside_functions():
    reached = {
        p.relative_to(REPOSITORY).as_posix() for p in source.reachable(REPOSITORY / "remdm/stages/ppo.py")
    }
    assert "remdm/experts/ppo.py" in reached
    assert "remdm/envs/batch.py" in reached
    assert "remdm/config/base.py" in reached
    assert not any(name.startswith(("remdm/planners", "remdm/diffusion", "remdm/models")) for name in reached)


def test_a_module_that_only_a_function_imports_is_reached(package):
    folder, forget = package
    forget()
    (folder / "lonely.py").write_text("X = 1\n")
    entry = folder / "stages" / "ppo.py"
    assert folder / "lonely.py" not in source.reachable(entry)
    entry.write_text(entry.read_text() + "\n\ndef later():\n    from remdm import lonely\n")
    forget()
    assert folder / "lonely.py" in source.reachable(entry)


@pytest.mark.parametrize("name", ["viewer.css", "viewer.html", "viewer.controls.js", "page.css"])
def test_a_pages_style_and_scripts_decide_it(copy, name):
    package, take = copy
    path = package / "analysis" / "web" / name
    page = Plan.load(WORKFLOW, {}).catalogue.of_films[-1]
    assert page.name == "episode.html"

    def digests_of_pages():
        take()
        return [figure_origin(module, {}).digest for module in ("viewer", "gallery", "episode")]

    before = digests_of_pages()
    path.write_text(path.read_text() + "\n")
    after = digests_of_pages()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]


def test_every_film_has_its_pictures():
    """And planners, who denoise, one more; each is drawn by a module of its name."""
    plan = Plan.load(WORKFLOW, {})
    drawn = {}
    for picture in plan.catalogue.of_films:
        drawn.setdefault(Path(picture.path).parts[-3], []).extend(Path(x).name for x in picture.outputs)
    pictures, of_planners = ["episode.gif", "path.png", "unlocks.png", "episode.html"], ["denoising.png"]
    assert drawn == {
        "ppo": pictures,
        "random": pictures,
        "offline-demo": [*pictures[:3], *of_planners, pictures[3]],
        "online-demo": [*pictures[:3], *of_planners, pictures[3]],
    }
    assert all(
        (REPOSITORY / "remdm" / "analysis" / f"{picture.module}.py").is_file()
        for picture in plan.catalogue.pictures
    )


def test_planning_imports_no_jax():
    code = f"""
import sys; from pathlib import Path; from remdm.workflow.plan import Plan
Plan.load(Path({str(WORKFLOW)!r}), {{"scale": "paper"}})
assert not {{"jax", "flax", "craftax", "matplotlib", "polars"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


@pytest.mark.parametrize("model", ["ppo", "ppo_rnd"])
def test_the_scale_names_the_experts_architecture(model):
    plan = with_expert(model, preset="paper")
    [job] = plan.catalogue.of("ppo")
    assert job.name == model
    assert plan.configs[job].network.ppo_model_type == model
    assert Job(GAME, "collect", model, 0) in plan.jobs


def with_expert(expert, **keys):
    return demo(experts=[expert], **keys)


def checkpoint(plan, stage, key, name):
    found = plan.dependencies(Job(GAME, stage, name, 0)).get(key)
    return None if found is None else found.checkpoint


def external(plan):
    [found] = plan.externals.values()
    return found


@pytest.fixture
def public(tmp_path):
    """What is a public checkpoint by its file names."""
    folder = tmp_path / "policies" / "1000" / "default"
    folder.mkdir(parents=True)
    (folder / "_METADATA").write_text("{}")
    (folder / "data").write_bytes(b"123")
    return tmp_path / "policies"


def test_an_expert_from_elsewhere_is_trained_by_no_job(public):
    plan = with_expert({"checkpoint": f"{public}/"})
    assert {f"{job.stage}/{job.name}" for job in plan.jobs} == {
        "collect/expert", "offline/demo", "online/demo",
        *played("expert", "offline-demo", "online-demo", "random"),
        *ABLATIONS,
    }  # fmt: skip
    for stage, key, name in (
        ("collect", "ppo_checkpoint_path", "expert"),
        ("offline", "ppo_checkpoint_path", "demo"),
        ("online", "ppo_checkpoint_path", "demo"),
        ("inference", "checkpoint_path", "expert"),
    ):
        assert checkpoint(plan, stage, key, name) == str(public)
    assert plan.configs[Job(GAME, "inference", "expert", 0)].policy == "expert"
    assert (role("expert"), label("expert")) == ("expert", "Expert")


def test_digests_follow_the_content_alone_of_an_expert_from_elsewhere(public, tmp_path):
    def take(path=public):
        return digests(with_expert({"checkpoint": str(path)}))

    before = take()
    for file in public.rglob("*"):
        os.utime(file, (1, 1))
    assert take() == before
    assert take(shutil.copytree(public, tmp_path / "copy")) == before
    (public / "1000" / "default" / "data").write_bytes(b"124")
    assert changed(before, take()) == set(before) - played("random")


def test_a_reference_to_wandb_is_fetched_by_a_job():
    def plan(version):
        return with_expert({"checkpoint": f"wandb:us/craftax/classic-expert:{version}"})

    before = plan("v0")
    path = "results/experts/us-craftax-classic-expert-v0/checkpoint"
    assert [found.reference for found in before.fetched.values()] == ["wandb:us/craftax/classic-expert:v0"]
    assert checkpoint(before, "offline", "ppo_checkpoint_path", "demo") == path
    assert before.catalogue.of("ppo") == []
    stale = changed(digests(before), digests(plan("v1")))
    assert stale == set(digests(before)) - played("random")


@pytest.mark.slow
def test_snakemake_plans_with_an_expert_from_elsewhere(public, tmp_path):
    def dry_run(checkpoint):
        config = {key: value for key, value in read_mapping(WORKFLOW).items() if key == "scales"}
        config["scales"]["demo"]["experts"] = [{"checkpoint": checkpoint}]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        command = ["-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", str(REPOSITORY / "Snakefile")]
        command += ["--directory", str(tmp_path), "--configfile", str(tmp_path / "mine.yaml")]
        return subprocess.run([sys.executable, *command], capture_output=True, text=True)

    done = dry_run(str(public))
    assert done.returncode == 0, done.stderr
    done = dry_run("wandb:us/craftax/expert:v0")
    assert done.returncode == 0, done.stderr
    done = dry_run(str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "scales.demo.experts.0.checkpoint = " in done.stderr


@pytest.mark.parametrize("name", ["my clone", "a'b", "$HOME", "a;b", "(1)"])
def test_a_python_whose_path_must_be_quoted_is_refused(monkeypatch, name):
    monkeypatch.setattr(sys, "executable", f"/home/me/{name}/.venv/bin/python")
    with pytest.raises(UserError, match="Snakemake cannot start jobs with a path that needs quoting"):
        check_interpreter()


@pytest.mark.slow
def test_an_environment_in_a_folder_with_a_space_stops_before_the_first_job(tmp_path):
    """As `.venv` of a clone there; upstream its path is not quoted."""
    python = tmp_path / "my clone" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    # The link leads to the environment, which it does not lie in.
    paths = os.pathsep.join([str(REPOSITORY), sysconfig.get_paths()["purelib"]])
    command = [str(python), "-P", *SNAKEMAKE[1:], "-n", "--directory", str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 2
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(python) in error


@pytest.mark.slow
def test_jobs_import_nothing_from_the_working_folder(tmp_path):
    """A rule with `run` is a `python -m snakemake` of its own, as a job of Slurm is."""
    shutil.copy(WORKFLOW, tmp_path)
    (tmp_path / "snakemake.py").write_text("raise SystemExit('code of the working folder ran')")
    rule = "rule probe:\n    output: 'probe'\n    run: Path(output[0]).touch()\n"
    (tmp_path / "Snakefile").write_text(f"include: '{REPOSITORY / 'Snakefile'}'\n\n\n{rule}")
    command = [sys.executable, "-P", "-m", "snakemake", "--cores", "1", "probe"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "code of the working folder ran" not in done.stderr
    assert (tmp_path / "probe").exists(), done.stderr


@pytest.mark.slow
def test_only_a_reference_has_a_job_that_fetches_it(public, tmp_path):
    """What a rule makes is removed when it runs: a fetched folder that is named itself must have none."""

    def rules(checkpoint):
        config = {"scales": read_mapping(WORKFLOW)["scales"]}
        config["scales"]["demo"]["experts"] = [{"checkpoint": checkpoint}]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        command = ["-m", "snakemake", "--list-rules", "--snakefile", str(REPOSITORY / "Snakefile")]
        command += ["--directory", str(tmp_path), "--configfile", str(tmp_path / "mine.yaml")]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert "expert" in rules("wandb:us/craftax/expert:v0")
    fetched = Path("results/experts/us-craftax-expert-v0/checkpoint")
    shutil.copytree(public, tmp_path / fetched)
    assert "expert" not in rules(str(fetched))


@pytest.mark.parametrize("name", ["", "expert", "us/craftax/expert", "us//expert:v0", "a/b/c/expert:v0"])
def test_a_malformed_reference_is_named_before_the_first_job(name):
    message = (
        rf"demo\.experts\.0\.checkpoint = wandb:{name}: not of the form wandb:entity/project/name:version"
    )
    with pytest.raises(UserError, match=message):
        with_expert({"checkpoint": f"wandb:{name}"})


def test_an_expert_from_elsewhere_plays_one_game(public):
    other = "Craftax-Symbolic-v1"
    for checkpoint in (str(public), "wandb:us/craftax/expert:v0"):
        with pytest.raises(UserError, match=rf"demo\.experts\.0\.checkpoint = {checkpoint}: plays one game"):
            with_expert({"checkpoint": checkpoint}, envs=[GAME, other])
    assert external(with_expert({"checkpoint": str(public)})).checkpoint == str(public)


def test_an_expert_of_ours_fits_the_scale(tmp_path):
    record, key = tmp_path / "metadata.json", rf"demo\.experts\.0\.checkpoint = {tmp_path}: its"

    def plan(content):
        record.write_text(content)
        return with_expert({"checkpoint": str(tmp_path)})

    assert external(plan(json.dumps({"kind": "expert", "env_name": GAME}))).checkpoint == str(tmp_path)
    with pytest.raises(UserError, match=f"{key} env_name is Craftax-Symbolic-v1, but {GAME} is needed"):
        plan(json.dumps({"kind": "expert", "env_name": "Craftax-Symbolic-v1"}))
    with pytest.raises(UserError, match=f"{key} kind is planner, but expert is needed"):
        plan(json.dumps({"kind": "planner", "env_name": GAME}))
    for content, problem in (
        ("{", "contains no readable metadata.json"),
        ("[]", "metadata.json should be a JSON"),
    ):
        with pytest.raises(
            UserError, match=rf"demo\.experts\.0\.checkpoint: checkpoint {tmp_path}: {problem}"
        ):
            plan(content)


def test_an_override_that_no_job_reads_is_named(public):
    message = r"demo\.overrides: ppo_lr = 0\.1: has no effect on any job of this scale"
    with pytest.raises(UserError, match=message):
        with_expert({"checkpoint": str(public)}, overrides={"ppo_lr": 0.1})
    with pytest.raises(UserError, match=r"rnd_lr = 1\.0: has no effect"):
        with_expert("ppo_rnn", overrides={"rnd_lr": 1.0})
    # One reader is enough: no expert denoises, but planners do.
    assert with_expert({"checkpoint": str(public)}, overrides={"eta": 0.5}).jobs


def test_experts_that_cannot_be_are_named(tmp_path):
    def refusal(expert):
        with pytest.raises(UserError) as raised:
            with_expert(expert)
        return str(raised.value)

    key = "scales.demo.experts.0"
    assert f"{key} = 'ppo_rn': should be 'ppo', 'ppo_rnn' or 'ppo_rnd'" in refusal("ppo_rn")
    assert f"{key}: must be ppo, ppo_rnn or ppo_rnd, or {{checkpoint: PATH}}" in refusal({})
    assert f"unknown key {key}.checkpint" in refusal({"checkpint": "x"})
    nowhere = tmp_path / "nowhere"
    assert f"{key}.checkpoint = {nowhere}: no such folder" in refusal({"checkpoint": str(nowhere)})
    assert f"{key}.checkpoint = {tmp_path}: is no checkpoint" in refusal({"checkpoint": str(tmp_path)})
    with pytest.raises(UserError, match="ppo_model_type: has no effect here"):
        with_overrides(ppo_model_type="ppo")


def test_dependencies_and_configs_of_jobs():
    plan = Plan.load(WORKFLOW, {})
    expert = Job(GAME, "ppo", "ppo", 0)
    offline = Job(GAME, "offline", "demo", 0)
    assert plan.dependencies(expert) == {}
    assert plan.dependencies(offline) == {"ppo_checkpoint_path": expert}
    assert plan.dependencies(Job(GAME, "inference", "offline-demo", 0)) == {"checkpoint_path": offline}
    assert plan.dependencies(Job(GAME, "inference", "ppo", 0)) == {"checkpoint_path": expert}
    assert plan.dependencies(Job(GAME, "inference", "random", 0)) == {}
    assert isinstance(plan.configs[offline], OfflineConfig)
    random = Job(GAME, "inference", "random", 0)
    assert '"policy": "random"' in plan.origins[plan.digest(random)]


def with_planners(*planners):
    return with_scale(planners=list(planners))


OFFLINE = {"method": "offline", "preset": "demo"}


def test_a_warm_start_is_an_edge_of_the_graph():
    warm = {"method": "online", "preset": "demo", "warm_start": "demo"}
    plan = with_planners(OFFLINE, {"method": "online", "preset": "demo"}, warm)
    job = Job(GAME, "online", "demo_from_demo", 0)
    offline = Job(GAME, "offline", "demo", 0)
    assert plan.dependencies(job)["offline_checkpoint_path"] == offline
    path = f"{offline.folder}/checkpoint"
    assert checkpoint(plan, "online", "offline_checkpoint_path", "demo_from_demo") == path
    assert checkpoint(plan, "online", "offline_checkpoint_path", "demo") is None
    # Another start is another result, and an evaluation of its own follows it.
    assert plan.digest(job) != plan.digest(Job(GAME, "online", "demo", 0))
    assert Job(GAME, "inference", "online-demo_from_demo", 0) in plan.jobs
    with pytest.raises(UserError, match="warm_start = demo: not among the offline planners"):
        with_planners(warm)
    with pytest.raises(UserError, match=r"planners\.0: warm_start = demo: is only for method: online"):
        with_planners({**OFFLINE, "warm_start": "demo"})


def test_a_grid_is_a_planner_for_each_combination():
    grid = {"lr": [1e-5, 0.002], "soft_labels": [False, True]}
    plan = with_planners(OFFLINE, {**OFFLINE, "grid": grid})
    names = [job.name for job in plan.catalogue.of("offline")]
    assert names == [
        *("demo", "demo_lr_0.00001_soft_labels_false", "demo_lr_0.00001_soft_labels_true"),
        *("demo_lr_0.002_soft_labels_false", "demo_lr_0.002_soft_labels_true"),
    ]
    found = [plan.configs[job].flat() for job in plan.catalogue.of("offline")]
    assert [(keys["lr"], keys["soft_labels"]) for keys in found] == [
        *((4e-3, True), (1e-5, False), (1e-5, True), (0.002, False), (0.002, True)),
    ]
    assert {f"offline-{name}" for name in names} <= {job.name for job in plan.catalogue.of("inference")}
    # Where it says what the preset does, it is the same training.
    same = with_planners({**OFFLINE, "grid": {"lr": [4e-3]}})
    assert same.digest(same.catalogue.of("offline")[0]) == plan.digest(plan.catalogue.of("offline")[0])
    # The scale's overrides are for all planners, so what is said of one lies over them.
    both = with_scale(planners=[{**OFFLINE, "grid": {"lr": [1e-5]}}], overrides={"lr": 1e-3, "eta": 0.1})
    assert both.configs[both.catalogue.of("offline")[0]].flat()["lr"] == 1e-5


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"lrr": [1.0]}, "grid: lrr: unknown key (did you mean lr?)"),
        ({"dagger_beta_final": [0.1]}, "demo_dagger_beta_final_0.1: grid: dagger_beta_final: has no effect"),
        ({"seed": [1]}, "grid: seed: has no effect here"),
        ({"lr": []}, "grid.lr = []: List should have at least 1 item"),
        ({"lr": 1e-3}, "grid.lr = 0.001: "),
        ({"env_name": ["../a"]}, "'../a'"),
        ({"lr": [-1.0]}, "lr = -1.0"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grid, message):
    with pytest.raises(UserError) as raised:
        with_planners({**OFFLINE, "grid": grid})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("preset", ["classic_exp_d_100K", "final_classic_qmul", "classic_exp_c_full_recipe"])
def test_any_preset_is_a_planner(preset):
    plan = with_planners({"method": "offline", "preset": preset}, {"method": "online", "preset": preset})
    assert plan.configs[Job(GAME, "online", preset, 0)].num_updates > 1
    with pytest.raises(UserError, match=f"did you mean .*{preset}"):
        with_planners({"method": "offline", "preset": preset[:-1]})


def with_scale(**keys):
    return demo(ablations=[], **keys)


def names(plan, *stages):
    return [f"{job.stage}/{job.name}" for job in plan.catalogue.of(*stages)]


def test_every_expert_teaches_every_planner_and_all_are_evaluated(base):
    plan = with_scale(experts=["ppo", "ppo_rnn"])
    assert names(plan, "ppo", "collect", "offline", "online") == [
        "ppo/ppo", "ppo/ppo_rnn", "collect/ppo", "collect/ppo_rnn",
        "offline/demo", "online/demo", "offline/demo_by_ppo_rnn", "online/demo_by_ppo_rnn",
    ]  # fmt: skip
    assert names(plan, "inference") == [
        f"inference/{name}"
        for name in ("ppo", "ppo_rnn", "offline-demo", "online-demo", "offline-demo_by_ppo_rnn",
                     "online-demo_by_ppo_rnn", "random")
    ]  # fmt: skip
    job = Job(GAME, "online", "demo_by_ppo_rnn", 0)
    assert plan.dependencies(job) == {"ppo_checkpoint_path": Job(GAME, "ppo", "ppo_rnn", 0)}
    assert plan.dependencies(Job(GAME, "inference", "online-demo_by_ppo_rnn", 0)) == {"checkpoint_path": job}
    # What the first expert alone would give is where it would be, and as it would be.
    assert digests(plan).items() >= {name: base[name] for name in set(base) - ABLATIONS}.items()


def test_a_second_expert_warm_starts_from_its_own_pupil():
    warm = {"method": "online", "preset": "demo", "warm_start": "demo"}
    plan = with_scale(experts=["ppo_rnn", "ppo"], planners=[OFFLINE, warm])
    found = plan.dependencies(Job(GAME, "online", "demo_from_demo_by_ppo", 0))
    assert found["offline_checkpoint_path"] == Job(GAME, "offline", "demo_by_ppo", 0)


def test_planners_and_checkpoints_are_for_their_games(public):
    other = "Craftax-Symbolic-v1"
    mine = {"checkpoint": str(public), "label": "mine", "env": other}
    plan = with_scale(
        envs=[GAME, other],
        experts=["ppo_rnn", mine],
        planners=[OFFLINE, {**OFFLINE, "preset": "demo_full", "envs": [other]}],
    )
    found = {(job.env, job.stage, job.name) for job in plan.jobs if job.stage not in ("inference", "film")}
    assert (other, "offline", "demo_full_by_expert_mine") in found
    assert (other, "collect", "expert_mine") in found
    assert not {(GAME, "collect", "expert_mine"), (GAME, "offline", "demo_full")} & found
    assert (role("expert_mine"), label("expert_mine")) == ("expert", "Expert (mine)")
    with pytest.raises(UserError, match=f"envs names {GAME}, but none of the planners is for it"):
        with_scale(planners=[{**OFFLINE, "envs": [other]}])
    with pytest.raises(UserError, match=r"experts\.0\.env = Craftax-Symbolic-v1: not among envs"):
        with_scale(experts=[mine])


def test_an_evaluation_is_made_where_it_differs(base):
    plan = with_scale(evaluations={"often": {"replan_every": 2}, "long": {"eval_steps": 2000}})
    often = {"inference/offline-demo-often", "inference/online-demo-often"}  # the others do not replan
    assert set(digests(plan)) == set(base) - ABLATIONS | often | {f"{name}-long" for name in EVALUATIONS}
    assert digests(plan).items() >= {name: base[name] for name in set(base) - ABLATIONS}.items()
    assert plan.configs[Job(GAME, "inference", "online-demo-often", 0)].replan_every == 2
    with pytest.raises(UserError, match=r"evaluations\.same: changes no evaluation; drop it"):
        with_scale(evaluations={"same": {"replan_every": 1}})
    with pytest.raises(UserError, match=r"evaluations\.wrong: lr: has no effect here"):
        with_scale(evaluations={"wrong": {"lr": 1e-3}})


@pytest.fixture(scope="module")
def swept():
    """Digests of all stages, the sweep's too."""
    return digests(demo(sweep=True))


def test_keys_of_playing_leave_trainings_alone(swept):
    after = digests(demo(sweep=True, playing={"temperature": 0.5, "eval_steps": 50}))
    planners = ("offline-demo", "online-demo")
    assert changed(swept, after) == EVALUATIONS | played(*planners) | {f"sweep/{name}" for name in planners}
    # An override of the same keys counts where policies do not only play, and `playing` lies over it.
    keys = {"sweep": True, "overrides": {"top_p": 0.8}}
    assert changed(digests(demo(**keys)), digests(demo(**keys, playing={"top_p": 0.9}))) == {
        *played(*planners), *(f"sweep/{name}" for name in planners)
    }  # fmt: skip


def test_evaluations_lie_over_playing():
    plan = demo(playing={"temperature": 0.5, "eta": 0.25}, evaluations={"cool": {"temperature": 0.25}})

    def sampler(name):
        return plan.configs[Job(GAME, "inference", name, 0)].sampler

    assert (sampler("offline-demo").temperature, sampler("offline-demo").eta) == (0.5, 0.25)
    assert (sampler("offline-demo-cool").temperature, sampler("offline-demo-cool").eta) == (0.25, 0.25)
    with pytest.raises(UserError, match=r"evaluations\.same: changes no evaluation; drop it"):
        demo(playing={"temperature": 0.5}, evaluations={"same": {"temperature": 0.5}})


@pytest.mark.parametrize(
    ("playing", "message"),
    [
        ({"temprature": 1.0}, r"temprature: unknown key \(did you mean .*temperature"),
        ({"lr": 1e-3}, "lr: has no effect here"),
        ({"policy": "random"}, "policy: has no effect here"),
        ({"sweep_plans": 2}, "sweep_plans = 2: has no effect on any job of this scale"),
        ({"temperature": -1.0}, "temperature = -1.0: should be"),
    ],
)
def test_a_key_that_changes_no_playing_is_named(playing, message):
    with pytest.raises(UserError, match=rf"scales\.demo\.playing: {message}"):
        demo(playing=playing)


def test_an_override_under_playing_is_refused_where_nothing_else_reads_it():
    with pytest.raises(UserError, match=r"demo\.overrides: film_steps = 50: has no effect on any job"):
        demo(overrides={"film_steps": 50}, playing={"film_steps": 60})


HINT = "scales.demo.playing changes evaluation, film and sweep only"


@pytest.mark.parametrize(
    ("stage", "name", "overrides", "hint"),
    [
        ("offline", "demo", {"temperature": 0.5, "lr": 2e-4}, "temperature: used by validation too"),
        ("online", "demo", {"eta": 0.1}, "eta: used by validation and the learner's rollouts too"),
        ("ablations", "llrd", {"eval_steps": 9}, "eval_steps: used by the arm's rollouts or evaluations too"),
        ("offline", "demo", {"lr": 2e-4}, None),
        ("inference", "offline-demo", {"replan_every": 2}, None),
    ],
)
def test_why_says_how_to_play_otherwise_without_training(tmp_path, monkeypatch, stage, name, overrides, hint):
    monkeypatch.chdir(tmp_path)
    before = demo()
    for job in before.jobs:
        origin = before.origin_of(job)
        write_json(Path(job.record), {"digest": origin.digest, "origin": asdict(origin)})
    job = Job(GAME, stage, name, 0)
    lines = explain(demo(overrides=overrides), job.folder)
    assert lines[0] == f"{job}: stale"
    hints = [line.strip() for line in lines if HINT in line]
    assert hints == ([] if hint is None else [f"{hint}; {WORKFLOW}: {HINT}"])


def test_what_is_named_twice_is_refused():
    with pytest.raises(UserError, match=f"offline demo: named twice for {GAME}"):
        with_scale(planners=[OFFLINE, OFFLINE])
    with pytest.raises(UserError, match=f"ppo ppo: named twice for {GAME}"):
        with_scale(experts=["ppo", "ppo"])


def test_the_paper_is_a_matrix_of_both_games():
    plan = Plan.load(WORKFLOW, {"scale": "paper"})
    assert {job.seed for job in plan.jobs} == {42, 43, 44}
    assert len({job.env for job in plan.jobs}) == 2
    assert plan.configs[Job("Craftax-Symbolic-v1", "online", "craftax_exp_d_7M", 43)].denoiser.d_model == 256


def test_which_of_two_keys_counts_is_noted():
    plan = with_planners(OFFLINE)
    assert plan.notes == []
    [note] = demo(overrides={"val_interval": 3}).notes
    assert "val_interval = 3 has no effect: val_interval_frames = 200000.0" in note


def test_every_configuration_is_checked_before_the_first_job():
    with pytest.raises(UserError, match=r"scales\.demo\.overrides: plan_horizon = 1000"):
        with_overrides(plan_horizon=1000)
    with pytest.raises(UserError, match="plan_horizn: unknown key"):
        with_overrides(plan_horizn=1)
    # Keys that the matrix or the runtime decides would be ignored there, so they are refused.
    for key in ("seed", "env_name", "policy", "progress", "ppo_checkpoint_path", "num_repeats", "arm"):
        with pytest.raises(UserError, match=f"{key}: has no effect here"):
            with_overrides(**{key: 1})
    with pytest.raises(UserError, match="runtime: lr: has no effect here"):
        Plan.load(WORKFLOW, {"runtime": {"lr": 1e-3}})
    # The pipeline's rules declare checkpoints as outputs.
    with pytest.raises(UserError, match="runtime: save_policy: has no effect here"):
        Plan.load(WORKFLOW, {"runtime": {"save_policy": False}})


def test_content_digest_sees_names_and_bytes_alone(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "x").write_text("1")
    assert content_digest("key", str(first)) == content_digest("key", str(second))
    (second / "sub" / "x").write_text("2")
    assert content_digest("key", str(first)) != content_digest("key", str(second))
    with pytest.raises(UserError, match=f"key = {tmp_path / 'c'}: no such folder"):
        content_digest("key", str(tmp_path / "c"))


def test_content_digest_looks_behind_links_and_refuses_nothing(tmp_path):
    """An expert in a folder of links must not have the digest of every other such folder."""
    experts = []
    for name in ("a", "b"):
        (tmp_path / name / "policies").mkdir(parents=True)
        (tmp_path / name / "policies" / "x").write_text(name)
        expert = tmp_path / f"expert_{name}"
        expert.mkdir()
        (expert / "policies").symlink_to(tmp_path / name / "policies")
        (expert / "policies" / "round").symlink_to(expert)  # links that lead back end nowhere
        experts.append(content_digest("key", str(expert)))
    assert len(set(experts)) == 2
    copied = tmp_path / "copied" / "policies"
    copied.mkdir(parents=True)
    (copied / "x").write_text("a")
    assert content_digest("key", str(copied.parent)) == experts[0]
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(
        UserError, match=f"key = {tmp_path / 'empty'}: contains no file, so it is no checkpoint"
    ):
        content_digest("key", str(tmp_path / "empty"))


def test_repository_root_is_the_clones():
    assert Path(source.ROOT) == REPOSITORY


def test_every_policy_is_filmed_once_and_drawn_beside_the_expert():
    plan = demo(seeds=[5, 6])
    assert [(job.name, job.seed) for job in plan.catalogue.of("film")] == [(name, 5) for name in POLICIES]
    names = {name: [] for name in POLICIES}
    for picture in plan.catalogue.of_films:
        names[Path(picture.path).parents[1].name].append(Path(*picture.outputs).name)
    drawn = ["episode.gif", "path.png", "unlocks.png"]
    assert names["random"] == names["ppo"] == [*drawn, "episode.html"]
    assert names["offline-demo"] == names["online-demo"] == [*drawn, "denoising.png", "episode.html"]
    assert {output for picture in plan.catalogue.pictures for output in picture.outputs} < set(plan.targets)
    expert, planner = Job(GAME, "film", "ppo", 5), Job(GAME, "film", "offline-demo", 5)
    assert plan.figures[f"{planner.folder}/unlocks"].jobs == (expert, planner)
    assert plan.figures[f"{expert.folder}/unlocks"].jobs == (expert,)
    assert plan.figures[f"{planner.folder}/path"].jobs == (planner,)
    assert plan.figures[f"{planner.folder}/episode"].jobs == (planner,)
    assert plan.figures[f"{planner.folder}/episode.html"].jobs == (expert, planner)
    offline, asked = Job(GAME, "offline", "demo", 5), Job(GAME, "ppo", "ppo", 5)
    assert plan.dependencies(planner) == {"checkpoint_path": offline, "ppo_checkpoint_path": asked}
    assert plan.dependencies(expert) == {"checkpoint_path": asked}


def test_a_changed_picture_plays_nothing_again(copy):
    package, take = copy
    before = take()
    path = package / "analysis" / "episode.py"
    path.write_text(path.read_text().replace("MILLISECONDS = 130", "MILLISECONDS = 131"))
    assert take() == before
