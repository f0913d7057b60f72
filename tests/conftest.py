"""Shared shapes and one compilation cache, so that the suite compiles little; and who runs which test."""

import logging
import os
import shutil
from pathlib import Path

import hypothesis
import pytest
from jax._src import compiler

from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.stages.session import prepare_jax
from remdm.training.run import Run
from remdm.workflow import source
from tests.compiling import QUICK

REPOSITORY = Path(__file__).parents[1]


# The first example of a test compiles, so none has a deadline; CI tries the same examples every time.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")


# Tests that share a fixture that is dear, and files that take long: each is one worker's. These begin, and so
# the workers end at about the same time.
SHARED = ("pipeline",)
LONG = (
    "test_slurm", "pipeline", "test_devices", "test_pipeline", "test_reliability", "test_real_game",
    "test_tracking", "test_planners", "test_baselines", "test_wrappers", "test_training", "test_train",
)  # fmt: skip


COMPILE_OPTIONS = compiler.get_compile_options


def pytest_configure(config):
    # Workers share the cores; left to itself, XLA would take all of them for each, subprocesses included.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.environ.setdefault("NPROC", str(max(1, cores // workers)))
    runtime = build(TrainingRuntimeConfig, base_layers(None))
    prepare_jax(runtime.model_copy(update={"compilation_cache_dir": str(REPOSITORY / ".tests-cache")}))


def _quick_options(*arguments, env_options_overrides, **keywords):
    options = QUICK | (env_options_overrides or {})
    return COMPILE_OPTIONS(*arguments, env_options_overrides=options, **keywords)


@pytest.hookimpl(tryfirst=True)  # before fixtures, which compile too
def pytest_runtest_setup(item):
    # JAX has no setting for all programs but XLA_FLAGS, which a process reads once.
    optimised = item.get_closest_marker("optimised") is not None
    compiler.get_compile_options = COMPILE_OPTIONS if optimised else _quick_options


def _group(item):
    """The tests that must run on one worker: those of a file, or those that share a fixture."""
    return next((name for name in SHARED if name in item.fixturenames), item.path.stem)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (*LONG, _group(item)).index(_group(item)))


@pytest.fixture
def make_run(tmp_path):
    """A job of its own folder; keys of the runtime can be given."""

    def make(stage="test", name="run", **keys):
        runtime = build(
            TrainingRuntimeConfig,
            [*base_layers(None), Layer("test", {"progress": False, "use_wandb": False, **keys})],
        )
        return Run(stage, tmp_path / name, tmp_path / f"{name}-state", "digest", runtime)

    return make


@pytest.fixture(autouse=True)
def _messages_reach_pytest():
    """`remdm` keeps its messages from the root logger once a command has run in-process."""
    logger = logging.getLogger("remdm")
    handlers, propagate = logger.handlers[:], logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that is digested in its place; and a function to call after an edit."""
    folder = tmp_path / "remdm"
    shutil.copytree(REPOSITORY / "remdm", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "ROOT", tmp_path)
    monkeypatch.setattr("remdm.workflow.digest.ROOT", tmp_path)

    def forget():
        for function in (source.reachable, source._module, source._module_file):
            function.cache_clear()

    yield folder, forget
    forget()


@pytest.fixture(scope="module")
def driver():
    """A browser for the tests of pages."""
    from tests import browser

    if reason := browser.missing():
        # CI installs one (.ci/run), so there its absence is an error.
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    with browser.started() as driver:
        yield driver


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """A finished run of everything at the smallest size and in a small game; to be read, and to be copied."""
    from tests.smallest import snakemake, stand_in, write_config

    folder = tmp_path_factory.mktemp("pipeline")
    path = write_config(folder / "smallest.yaml")
    done = snakemake(folder, "--configfile", str(path), environment=stand_in())
    assert done.returncode == 0, done.stderr[-4000:]
    return folder
