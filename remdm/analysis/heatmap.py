"""The sampler's settings at a glance."""

from pathlib import Path

import numpy as np

from remdm.analysis.results import read_parquet
from remdm.analysis.style import draw_cells, new_figure, save

MEASURES = {
    "agreement": "agreement with the expert, whole plan",
    "agreement_first": "agreement with the expert, first action",
    "diversity": "diversity of plans",
    "remasked": "tokens masked again, a step",
    "score": "reward in play",
    "score_difference": "reward in play, beyond the sampler's own keys",
    "milliseconds_per_plan": "milliseconds a plan",
}


def draw(results: list[str], path: Path) -> None:
    """A heat map for each measure, as a PNG: strategies and numbers of steps by eta and temperature.

    Args:
        results: files of the folder of a sweep, with `sweep.parquet`.
    """
    table = read_parquet(Path(results[0]).parent / "sweep.parquet")
    measures = [name for name in MEASURES if name in table.columns and table[name].count()]
    rows = table.select("strategy", "steps").unique(maintain_order=True).rows()
    columns = table.select("eta", "temperature").unique(maintain_order=True).rows()
    width, height = 1.6 + 0.62 * len(columns), 1.5 + 0.3 * len(rows)
    figure, axes = new_figure(3 * width, -(-len(measures) // 3) * height, -(-len(measures) // 3), 3)
    for ax in axes[len(measures) :]:
        ax.set_visible(False)
    for ax, name in zip(axes, measures, strict=False):
        values = np.full((len(rows), len(columns)), np.nan)
        for setting in table.select("strategy", "steps", "eta", "temperature", name).rows():
            value = setting[-1]
            if value is not None:
                values[rows.index(setting[:2]), columns.index(setting[2:4])] = value
        draw_cells(ax, values, "{:.3g}")
        ax.set_title(MEASURES[name])
        ax.set_yticks(range(len(rows)), [f"{strategy}, {steps}" for strategy, steps in rows])
        ax.set_xticks(range(len(columns)), [f"{eta:g}\n{t:g}" for eta, t in columns])
        ax.set_xlabel("eta, below it the temperature")
    save(figure, path.with_suffix(".png"))
