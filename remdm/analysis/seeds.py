"""Curves of several seeds as one: the mean and its interval."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from remdm.analysis.results import Result, smooth
from remdm.analysis.statistics import seed_interval
from remdm.analysis.style import Look

POINTS = 200
FEW = 30  # values are marked and joined as they are; more are smoothed


class Curve(NamedTuple):
    """The mean over seeds [N] at `x` [N], and its interval, which one seed has not."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


def mean_curve(results: list[Result], metric: str, against: str = "frames") -> Curve | None:
    """The mean of seeds' curves, each smoothed over a twenty-fifth of its values, as far as all of them go.

    Args:
        against: a column of the metrics, such as `frames` or `seconds`.

    Returns:
        None if it was never measured.
    """
    curves = [curve for result in results if len((curve := result.curve(metric, against))[0])]
    if not curves:
        return None
    smoothed = [(x, y if len(y) < FEW else smooth(y, len(y) // 25)) for x, y in curves]
    if len(smoothed) == 1:
        return Curve(*smoothed[0], None, None)
    first, last = max(x[0] for x, _ in smoothed), min(x[-1] for x, _ in smoothed)
    x = np.linspace(first, max(first, last), min(POINTS, min(len(x) for x, _ in smoothed)))
    values = np.stack([np.interp(x, *curve) for curve in smoothed], axis=-1)
    return Curve(x, values.mean(axis=-1), *seed_interval(values))


def draw_curve(
    ax: Axes,
    results: list[Result],
    metric: str,
    look: Look,
    label: str,
    against: str = "frames",
    scale: float = 1.0,
) -> None:
    """Draw the mean over seeds as a line and its interval as a band; of one seed, its values behind, faint.

    Args:
        scale: of the x axis, in units of `against`.
    """
    curve = mean_curve(results, metric, against)
    if curve is None:
        return
    x = curve.x / scale
    marker = look.marker if len(x) < FEW else None
    ax.plot(x, curve.mean, color=look.colour, ls=look.line, marker=marker, label=label)
    if curve.low is not None and curve.high is not None:
        # The band may leave the picture; the lines decide what is seen.
        ax.fill_between(x, curve.low, curve.high, color=look.colour, alpha=0.2, lw=0)
    elif marker is None:
        for result in results:
            raw_x, raw = result.curve(metric, against)
            ax.plot(raw_x / scale, raw, color=look.colour, alpha=0.2, lw=0.7)


def bands_of(results: list[Result]) -> str:
    """How many seeds are behind the curves, and what the bands are, for a caption."""
    seeds = {result.seed for result in results}
    if len(seeds) > 1:
        return f"Mean of {len(seeds)} training seeds; bands are 95 % intervals over them (Student's t)."
    return "One training seed: without others there is no interval. Faint: values before smoothing."
