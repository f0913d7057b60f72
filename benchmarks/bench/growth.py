"""How costs grow with sizes, from the results of `python -m benchmarks.bench --growth`."""

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from remdm.analysis.results import read_parquet
from remdm.analysis.style import CYCLE, WIDTH, new_figure, own_settings, save, say

# What is varied, in words, and whether the time shown is that of a call or of one plan or window.
PANELS = {
    "num_envs": ("environments", False),
    "plan_horizon": ("plan horizon, actions", True),
    "d_model": ("width of the denoiser, d_model", True),
    "diffusion_steps": ("denoising steps", True),
}
CASES = {
    "env_step": "64 steps of random play",
    "offline": "update of offline BC",
    "sampling": "sampling a plan",
    "gradient": "gradient of a window",
}


@own_settings()
def draw_growth(results: Path, output: Path) -> None:
    """A panel for each key that was varied: time against its value, both logarithmic, with fitted slopes.

    Args:
        results: a parquet file of the benchmark, whose last run counts: others had other settings.
    """
    table = read_parquet(results).filter(pl.col("varied").is_not_null())
    table = table.filter(pl.col("run") == pl.col("run").last())
    figure, axes = new_figure(WIDTH, 5.0, 2, 2)
    for ax, (key, (words, of_one)) in zip(axes, PANELS.items(), strict=True):
        own = table.filter(pl.col("varied") == key)
        if own.is_empty():
            say(ax, f"{key} was not varied.")
            continue
        _draw(ax, own, of_one)
        ax.set_xlabel(words)
        ax.set_ylabel("milliseconds" if of_one else "seconds")
        ax.set_title(f"Time by {key}", loc="left")
    figure.suptitle(_where(table), fontsize=7.5)
    save(figure, output)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """The exponent p of y = c x^p that fits best, by least squares of the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _draw(ax: Axes, table: pl.DataFrame, of_one: bool) -> None:
    for case in CASES:
        own = table.filter(pl.col("case") == case).sort("value")
        if own.is_empty():
            continue
        unit = own["work"].to_numpy() / 1e3 if of_one else np.ones(own.height)
        x = own["value"].to_numpy()
        columns = "seconds", "seconds_min", "seconds_max"
        median, shortest, longest = (own[name].to_numpy() / unit for name in columns)
        spread = [median - shortest, longest - median]
        look = CYCLE[list(CASES).index(case) % len(CYCLE)]
        fitted = f", slope {slope(x, median):.2f}" if len(x) > 1 else ""
        ax.errorbar(
            x, median, spread, color=look.colour, marker=look.marker, ls=look.line,
            capsize=2, elinewidth=0.8, label=CASES[case] + fitted,
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    values = sorted(set(table["value"].to_list()))
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    [low, high] = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    ax.legend(loc="upper left")


def _where(table: pl.DataFrame) -> str:
    last = table.row(-1, named=True)
    commit = (last["commit"] or "no clone")[:10]
    return (
        f"{last['machine']}, jax {last['jax']}, {commit}: median of "
        f"{len(last['seconds_each'])} calls, bars from the shortest to the longest"
    )
