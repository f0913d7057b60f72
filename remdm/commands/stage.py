"""Run one stage, and draw the same pictures as the pipeline."""

import argparse
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from remdm.base.errors import UserError
from remdm.base.log import configure_logging
from remdm.base.state import STATE, noted_results
from remdm.commands.configuration import Call, call_of, configured, origin_of
from remdm.config.runtime import RuntimeConfig
from remdm.config.stage import StageConfig
from remdm.config.stages import STAGES
from remdm.workflow.record import recorded_digest

if TYPE_CHECKING:
    from remdm.training.run import Watcher

logger = logging.getLogger("remdm")


def run_stage(arguments: argparse.Namespace) -> None:
    """Run the stage of a call; mistakes are reported before JAX is imported.

    Raises:
        UserError: for example, the folder contains the results of another run.
    """
    started = time.perf_counter()
    call = call_of(arguments)
    run_call(call, *configured(call), started)


def run_call(
    call: Call,
    config: StageConfig,
    runtime: RuntimeConfig,
    notes: Sequence[str],
    started: float,
    watchers: Sequence["Watcher"] = (),
) -> None:
    """Run the stage of a call that has been configured.

    Args:
        notes: warnings about the configuration.
        started: when work on the call began, on the clock of `time.perf_counter`.
        watchers: receive the metrics, in addition to those that the configuration names.

    Raises:
        UserError: for example, the folder contains the results of another run.
        Interrupted: a signal or a time limit stopped the run; the state is saved.
    """
    mode, folder = call.mode, call.folder(config)
    origin = origin_of(mode, config)
    digest = origin.digest
    refuse_another_run(mode, folder, digest)

    # Imported late, because it imports JAX: mistakes are reported at once.
    import jax

    from remdm.stages.session import prepare_jax, run_mode
    from remdm.training.run import Run

    configure_logging()
    runtime = prepare_jax(runtime)
    for note in notes:
        logger.warning(note)
    logger.info("%s: seed %d", mode, config.seed)
    state = STATE / digest
    with Run(mode, folder, state, digest, runtime, asdict(origin), started, watchers=[*watchers]) as run:
        run_mode(mode, config, run)
    if jax.process_index() > 0:
        return  # the first of several processes has written the results
    _draw(mode, config, folder)
    logger.info("results in %s", folder)


def is_done(arguments: argparse.Namespace) -> bool:
    """Whether the results of a call exist already."""
    call = call_of(arguments)
    config, _, _ = configured(call)
    return recorded_digest(call.folder(config) / "run.json") == origin_of(call.mode, config).digest


def refuse_another_run(mode: str, folder: Path, digest: str) -> None:
    """Refuse to overwrite results, except those of the same run, finished or not.

    Raises:
        UserError: an output exists already, and is of another run or of no known one.
    """
    record = folder / "run.json"
    if recorded_digest(record) == digest or noted_results(STATE / digest) == os.path.relpath(folder):
        return
    stage = STAGES[mode]
    written = [record.name, *stage.outputs, *(picture.file for picture in stage.pictures)]
    there = [
        path for name in written for path in (folder / name, *folder.glob(f"r*/{name}")) if path.exists()
    ]
    if there:
        held = "the results of another run" if recorded_digest(record) else f"{there[0].name} of no known run"
        raise UserError(f"{folder}: holds {held}; name another folder with --output")


def _draw(mode: str, config: StageConfig, folder: Path) -> None:
    """Draw the pictures that the pipeline draws of a run, for each of its repetitions."""
    from remdm.analysis.session import draw_figure

    stage = STAGES[mode]
    denoises = getattr(config, "policy", "planner") == "planner"
    for shown in sorted(folder.rglob(stage.shown[0])):
        for picture in stage.pictures:
            if denoises or not picture.of_planners:
                draw_figure(picture.name, [str(shown)], shown.parent / picture.output)
