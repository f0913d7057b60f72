"""Run one stage, and draw what the pipeline's rules draw of it."""

import argparse
import logging
import time
from pathlib import Path

from remdm.base.errors import UserError
from remdm.commands.configuration import configured, default_folder, origin_of
from remdm.config.base import StageConfig
from remdm.config.layers import STAGES
from remdm.workflow.record import recorded_digest

logger = logging.getLogger("remdm")


def run_stage(arguments: argparse.Namespace) -> None:
    """Run the stage of a call; mistakes are reported before JAX is imported.

    Raises:
        UserError: such as a folder that holds the results of another run.
    """
    started = time.perf_counter()
    mode, model = arguments.mode, STAGES[arguments.mode]
    config, runtime, notes = configured(arguments)
    origin = origin_of(mode, config)
    digest = origin.digest
    folder = arguments.output or default_folder(mode, config, arguments.config)
    refuse_another_run(folder, digest)

    # Only now what imports JAX: a mistake is reported at once.
    import jax

    from remdm.stages.session import configure_logging, prepare_jax, run_mode
    from remdm.training.run import Run

    configure_logging()
    runtime = prepare_jax(runtime)
    for note in notes:
        logger.warning(note)
    logger.info("%s: seed %d", mode, config.seed)
    with Run(mode, folder, Path("state") / digest, digest, runtime, origin.record(), started) as run:
        run_mode(mode, config, run)
    if jax.process_index() > 0:
        return  # the first of several processes has written the results
    _draw(model, folder)
    logger.info("results in %s", folder)


def is_done(arguments: argparse.Namespace) -> bool:
    """Whether the run's results are there already."""
    config, _, _ = configured(arguments)
    folder = arguments.output or default_folder(arguments.mode, config, arguments.config)
    return recorded_digest(folder / "run.json") == origin_of(arguments.mode, config).digest


def refuse_another_run(folder: Path, digest: str) -> None:
    """Let the same command repeat itself, but never overwrite another's results."""
    held = recorded_digest(folder / "run.json")
    if held is not None and held != digest:
        raise UserError(f"{folder}: holds the results of another run; name another folder with --output")


def _draw(model: type[StageConfig], folder: Path) -> None:
    """The figures that the pipeline's rules draw of a run."""
    if model is STAGES["inference"]:
        from remdm.analysis.achievements import draw_unlocked

        draw_unlocked([str(folder / "summary.json")], folder / "achievements.png")
    elif model is STAGES["film"]:
        _draw_film(folder)
    elif model is STAGES["sweep"]:
        from remdm.analysis.sweep import draw_sweep

        draw_sweep(folder, folder / "sweep.png")
    else:
        from remdm.analysis.curves import draw_curves

        for metrics in sorted(folder.rglob("metrics.parquet")):
            draw_curves(metrics.parent, metrics.parent / "curves.png")


def _draw_film(folder: Path) -> None:
    from remdm.analysis.denoising import draw_denoising
    from remdm.analysis.episode import draw_episode
    from remdm.analysis.film import film_title, read_film
    from remdm.analysis.path import draw_path
    from remdm.analysis.unlocks import draw_unlocks

    film, title = read_film(folder / "film.npz"), film_title(folder)
    draw_episode(film, folder / "episode.gif", title)
    draw_path(film, folder / "path.png", title)
    draw_unlocks({folder.parent.name: film}, folder / "unlocks.png", title)
    if len(film.traces):
        draw_denoising(film, folder / "denoising.png", title)
