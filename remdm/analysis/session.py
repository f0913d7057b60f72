"""A process that draws one figure or table as a Snakemake job."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remdm.analysis.style import own_settings
from remdm.base.errors import reported
from remdm.base.files import write_json
from remdm.base.log import configure_logging


def draw_figure(module: str, results: Sequence[str], path: Path) -> None:
    """Draw a figure, a table or a page by the function `draw` of a module of `analysis/`.

    Args:
        module: such as `returns`, the stage in a figure's origin.
        results: the files of results to show.
        path: of the outputs, without suffix.
    """
    drawing = importlib.import_module(f"remdm.analysis.{module.replace('/', '.')}")
    with own_settings():
        drawing.draw(list(results), path)


def run_script(snakemake: Any) -> None:
    """Draw as the Snakemake job of a rule; write its record, or the reason of a failure to its log."""
    configure_logging(Path(snakemake.log[0]))
    digest = snakemake.params.digest
    origin = json.loads(snakemake.config["origins"][digest])
    record = str(snakemake.output.run)
    with reported("drawing"):
        draw_figure(origin["stage"], snakemake.input, Path(record.removesuffix(".run.json")))
    write_json(Path(record), {"digest": digest, "origin": origin})
