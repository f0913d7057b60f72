"""Heat maps of a sweep over the sampler's settings."""

from pathlib import Path

import polars as pl

from remdm.analysis.results import read_parquet
from remdm.analysis.style import draw_cells, new_panels, save

MEASURES = {
    "agreement": "agreement with the expert, whole plan",
    "agreement_first": "agreement with the expert, first action",
    "diversity": "diversity of plans",
    "remasked": "tokens re-masked in a step",
    "score": "reward in play",
    "score_difference": "reward in play, less that of the sampler's own keys",
    "milliseconds_per_plan": "milliseconds per plan",
}


def draw(results: list[str], path: Path) -> None:
    """Draw a heat map for each measure, as a PNG: strategies and numbers of steps by eta and temperature.

    Args:
        results: files of the folder of a sweep, with `sweep.parquet`.
    """
    table = read_parquet(Path(results[0]).parent / "sweep.parquet")
    measures = [name for name in MEASURES if name in table.columns and table[name].count()]
    by, across = ["strategy", "steps"], ["eta", "temperature"]
    rows, columns = (table.select(names).unique(maintain_order=True).rows() for names in (by, across))
    figure, axes = new_panels(len(measures), 3, 1.6 + 0.62 * len(columns), 1.5 + 0.3 * len(rows))
    for ax, name in zip(axes, measures, strict=True):
        cells = table.pivot(across, index=by, values=name, maintain_order=True).drop(by)
        draw_cells(ax, cells.cast(pl.Float64).to_numpy(), "{:.3g}")  # null becomes NaN
        ax.set_title(MEASURES[name])
        ax.set_yticks(range(len(rows)), [f"{strategy}, {steps}" for strategy, steps in rows])
        ax.set_xticks(range(len(columns)), [f"{eta:g}\n{t:g}" for eta, t in columns])
        ax.set_xlabel("eta, below it the temperature")
    save(figure, path.with_suffix(".png"))
