"""Shared shapes and one compilation cache, so that the suite compiles little."""

import logging
import os
import shutil
from pathlib import Path

import hypothesis
import pytest

from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import TrainingRuntimeConfig
from remdm.stages.session import prepare_jax
from remdm.training.run import Run
from remdm.workflow import source

REPOSITORY = Path(__file__).parents[1]


# The first example of a test compiles, so none has a deadline; CI tries the same examples every time.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")


def pytest_configure(config):
    runtime = build(TrainingRuntimeConfig, base_layers(None))
    prepare_jax(runtime.model_copy(update={"compilation_cache_dir": str(REPOSITORY / ".tests-cache")}))


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
        for function in (source.reachable, source._tree_digest, source._imports, source._module_file):
            function.cache_clear()

    yield folder, forget
    forget()


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """A finished run of everything at the smallest size; to be read, and to be copied."""
    from tests.smallest import snakemake, write_config

    folder = tmp_path_factory.mktemp("pipeline")
    path = write_config(folder / "smallest.yaml")
    # Jobs this small mostly compile, on one core each: let two run side by side.
    done = snakemake(folder, "--configfile", str(path), "--resources", "gpu=2")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder
