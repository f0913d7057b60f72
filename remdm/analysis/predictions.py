"""A planner's cross-entropy with its expert, by time in the episode and by position in the plan."""

from pathlib import Path

import polars as pl

from remdm.analysis.results import read_parquet
from remdm.analysis.style import GREY, SERIES, WIDTH, new_figure, save

PANELS = {"time": "steps since the episode began", "place": "position in the plan"}


def draw(results: list[str], path: Path) -> None:
    """Cross-entropy on the states of expert and planner, with its lower bound, the expert's own entropy.

    Args:
        results: files of the folder of a run, with `imitation.parquet`.
    """
    table = read_parquet(Path(results[0]).parent / "imitation.parquet")
    figure, axes = new_figure(WIDTH, 2.6, 1, len(PANELS))
    for ax, (by, label) in zip(axes, PANELS.items(), strict=True):
        for colour, states in zip(SERIES, ("expert", "planner"), strict=False):
            rows = table.filter((pl.col("by") == by) & (pl.col("states") == states)).sort("start")
            x = range(rows.height)
            ax.plot(x, rows["cross_entropy"], "o-", color=colour, ms=4, label=f"states of the {states}")
            ax.plot(x, rows["entropy"], "--", color=colour, lw=1)
        starts = [str(start) for start in rows["start"]]
        ax.set_xticks(x, [f"{start}+" for start in starts] if by == "time" else starts)
        ax.set_xlabel(label)
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel("cross-entropy with the expert, nats")
    axes[0].plot([], [], "--", color=GREY, label="the expert's own entropy")
    axes[0].legend(fontsize=7)
    save(figure, path.with_suffix(".png"))
