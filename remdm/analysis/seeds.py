"""Curves averaged over seeds, with their intervals."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from remdm.analysis.results import Result, smooth
from remdm.analysis.style import Look, draw_line
from remdm.base.estimates import seed_interval

POINTS = 200
FEW = 30  # values up to which each has a marker; more have ten markers


class Curve(NamedTuple):
    """A metric of S seeds [N, S] at `x` [N]; NaN where a value is missing."""

    x: np.ndarray
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean over seeds [N]; NaN where one of them has no value."""
        return self.values.mean(axis=-1)

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Student's t interval of the mean, low and high [N]; None for one seed."""
        return seed_interval(self.values) if self.values.shape[-1] > 1 else None

    @property
    def span(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of any seed [N]."""
        return self.values.min(axis=-1), self.values.max(axis=-1)


def mean_curve(
    results: Sequence[Result], metric: str, against: str = "frames", smoothed: bool = True
) -> Curve | None:
    """A metric of all seeds, up to the end of the shortest.

    Args:
        against: a column of the metrics, such as `frames` or `seconds`.
        smoothed: whether to smooth each seed over a twenty-fifth of its values.

    Returns:
        None if it was never measured.
    """
    curves = [curve for result in results if len((curve := result.curve(metric, against))[0])]
    if not curves:
        return None
    if smoothed:
        curves = [(x, smooth(y, len(y) // 25)) for x, y in curves]
    x = curves[0][0]
    if all(np.array_equal(x, other) for other, _ in curves):
        return Curve(x, np.stack([y for _, y in curves], axis=-1))
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    x = np.linspace(first, max(first, last), min(POINTS, min(len(x) for x, _ in curves)))
    return Curve(x, np.stack([np.interp(x, *curve) for curve in curves], axis=-1))


def draw_curve(
    ax: Axes,
    results: Sequence[Result],
    metric: str,
    look: Look,
    label: str,
    against: str = "frames",
    *,
    scale: float = 1.0,
    band: Literal["interval", "span"] | None = "interval",
) -> bool:
    """Draw the mean over seeds as a line with a band; one seed has no interval, but faint unsmoothed values.

    Args:
        scale: units of `against` per unit of the x axis.
        band: which of the curve's bands to draw; none if None.

    Returns:
        Whether there was any value to draw.
    """
    curve = mean_curve(results, metric, against, smoothed=band == "interval")
    if curve is None or np.isnan(curve.mean).all():
        return False
    if band == "interval":
        mean, ends = curve.mean, curve.interval
    else:
        # The span is of the measured values; then it is smoothed like their mean.
        mean, low, high = (smooth(line, len(line) // 25) for line in (curve.mean, *curve.span))
        ends = (low, high) if band else None
    x = curve.x / scale
    # With gaps every value has a marker, because a value between two gaps has no line.
    every = 1 if len(x) < FEW or np.isnan(mean).any() else len(x) // 10
    draw_line(ax, x, mean, look, label, every, ends)
    if band and ends is None and len(x) >= FEW:
        for result in results:
            raw_x, raw = result.curve(metric, against)
            ax.plot(raw_x / scale, raw, color=look.colour, alpha=0.2, lw=0.7)
    return True


def bands_of(results: list[Result]) -> str:
    """The number of seeds and the meaning of the bands, for a caption."""
    seeds = {result.seed for result in results}
    if len(seeds) > 1:
        return f"Mean of {len(seeds)} training seeds; bands are 95 % intervals over them (Student's t)."
    return "One training seed: without others there is no interval. Faint: values before smoothing."
