"""The style of all figures: settings of matplotlib, and the colour, marker, line and hatch of each policy.

Colours differ in lightness as well as in hue, and never are the only difference: figures can be read in grey
print and by colour-blind readers.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.rcsetup import cycler

from remdm.analysis.formats import write_text
from remdm.base.estimates import Estimate
from remdm.base.files import whole_file

WIDTH = 7.0  # inches, of the text on a paper's page
RESOLUTION = 200  # dots per inch, of PNG

T = TypeVar("T")
Line = str | tuple[int, tuple[int, ...]]


class Look(NamedTuple):
    """How a policy or an arm is drawn; `width` is of its line, matplotlib's if None."""

    colour: str
    marker: str
    hatch: str
    line: Line
    width: float | None = None
    is_open: bool = False

    @property
    def fill(self) -> str:
        """The colour within the edge of its marker or bar."""
        return "white" if self.is_open else self.colour


LABELS = {
    "expert": "Expert", "offline": "Offline BC", "online": "DAgger", "random": "Random", "planner": "Planner",
}  # fmt: skip
ROLES = {
    "expert": Look("#1d2f6f", "s", "", "-"),
    "offline": Look("#e0813c", "o", "///", "--"),
    "online": Look("#00806a", "^", "...", "-"),
    "random": Look("#b9c3cf", "X", "", "-."),
    "planner": Look("#7a4632", "D", "xxx", ":"),
}
CYCLE = [ROLES[name] for name in ("expert", "offline", "online", "planner")]  # of lines that are no policies
# Policies of one role, such as two sizes of a planner, differ in these.
HATCH_VARIANTS = ("///", "xxx", "---", "|||", "ooo", "+++", "", "...")
LINE_VARIANTS: tuple[Line, ...] = (
    *("-", "--", "-.", ":"),
    *((0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3))),
)
# Of series without a role: Okabe and Ito's colours without yellow.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f4f9b")
MARKER_VARIANTS = ("o", "s", "^", "D", "v", "P", "X")
INK, GREY = "#222222", "#777777"  # of what others are compared with: a baseline, a level
MISSING: dict[str, Any] = {"facecolor": "none", "edgecolor": "#999999", "hatch": "////", "linewidth": 0.5}
# Its luminance rises throughout, so it can be read in grey.
MAP = matplotlib.colormaps["cividis"].with_extremes(bad=(0, 0, 0, 0))

SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "axes.prop_cycle": cycler(color=[look.colour for look in CYCLE]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # letters stay letters: searchable, and required by publishers
}


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw with matplotlib's defaults and `SETTINGS`, whatever the user's matplotlibrc contains."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def role(policy: str) -> str:
    """The role that a policy's name implies: of `ppo...` expert, of `<method>-<preset>` the method."""
    method = policy.split("-")[0]
    if method in LABELS:
        return method
    return "expert" if policy.startswith(("ppo", "expert")) else "planner"


def label(policy: str) -> str:
    """A policy's name in figures: `offline-demo` is `Offline BC (demo)`."""
    named = policy.removeprefix(role(policy)).lstrip("-_")
    return f"{LABELS[role(policy)]} ({named})" if named else LABELS[role(policy)]


def readable(name: str) -> str:
    """The name of an action or an achievement in words."""
    return name.replace("_", " ").lower()


def looks(policies: Iterable[str]) -> dict[str, Look]:
    """How to draw each of some policies, so that no two look the same."""
    found: dict[str, Look] = {}
    for policy in dict.fromkeys(policies):
        look = ROLES[role(policy)]
        before = sum(role(other) == role(policy) for other in found)
        hatch = _variant(look.hatch, HATCH_VARIANTS, before)
        line = _variant(look.line, LINE_VARIANTS, before)
        found[policy] = look._replace(hatch=hatch, line=line, is_open=before > 0)
    return found


def series_look(k: int) -> Look:
    """How to draw the k-th of some series that have no role."""
    line = LINE_VARIANTS[k // len(SERIES) % len(LINE_VARIANTS)]
    return Look(SERIES[k % len(SERIES)], MARKER_VARIANTS[k % len(MARKER_VARIANTS)], "", line)


def _variant(first: T, others: Sequence[T], k: int) -> T:
    """The k-th of some variants, of which `first` is the 0th."""
    choice = [first, *(other for other in others if other != first)]
    return choice[k % len(choice)]


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of width x height inches and its axes, row by row; no display is needed.

    Args:
        heights: of the rows, relative to each other; equal if None.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def new_panels(
    count: int, most: int, width: float, height: float, extra: float = 0.0
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of some panels of width x height inches, and their axes, row by row.

    Args:
        most: panels in a row.
        extra: inches of height besides the panels'.
    """
    columns = min(most, count)
    rows = math.ceil(count / columns)
    figure, axes = new_figure(width * columns, height * rows + extra, rows, columns)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def save(figure: Figure, path: Path) -> None:
    """Write a picture, all of it or nothing, in the format that its suffix names."""
    form = path.suffix.removeprefix(".")
    # Without the time of day, the same figure is the same file.
    metadata = {"CreationDate": None} if form == "pdf" else None
    with whole_file(path) as partial:
        figure.savefig(partial, format=form, dpi=RESOLUTION, metadata=metadata)


def save_both(figure: Figure, stem: Path) -> None:
    """Write a picture as PDF and as PNG."""
    for suffix in (".pdf", ".png"):
        save(figure, stem.with_name(stem.name + suffix))
        figure.set_layout_engine("none")  # once laid out, it need not be again


def publish(figure: Figure, stem: Path, caption: str) -> None:
    """Write a figure of the paper: PDF, PNG, and its caption as text."""
    save_both(figure, stem)
    write_text(caption + "\n", stem.with_name(f"{stem.name}.txt"))


def legend_below(figure: Figure, axes: Iterable[Axes]) -> None:
    """Draw one legend for all axes, below them, where it covers nothing."""
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=2 if figure.get_figwidth() < WIDTH else 3
    )


def draw_line(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    look: Look,
    label: str,
    every: int = 1,
    ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Draw y [N] at x [N], a marker at each `every`-th value, and a band between two `ends` [N]."""
    ax.plot(
        x, y, color=look.colour, ls=look.line, lw=look.width, marker=look.marker, markevery=every, label=label
    )
    if ends is not None:
        ax.fill_between(x, *ends, color=look.colour, alpha=0.2, lw=0)


def draw_estimates(
    ax: Axes, x: Sequence[float], estimates: Sequence[Estimate], look: Look, label: str
) -> None:
    """Draw values and their intervals at x [N] as a line with error bars."""
    ax.errorbar(
        x, [each.value for each in estimates], errors_of(estimates), color=look.colour, marker=look.marker,
        ls=look.line, capsize=2, mec="black", mew=0.5, elinewidth=0.8, label=label,
    )  # fmt: skip


def errors_of(estimates: Iterable[Estimate]) -> np.ndarray:
    """The distances of the intervals' ends from their values [2, N], as matplotlib's error bars need them."""
    value, low, high = np.array(list(estimates)).reshape(-1, 3).T
    return np.array([value - low, high - value])


def say(axes: Axes, text: str = "missing") -> None:
    """Write a text into axes, such as why they have no data; without data, hide the axes' frame too."""
    if not axes.has_data():
        axes.set_axis_off()
    axes.text(
        0.5, 0.5, textwrap.fill(text, 40), color=GREY, ha="center", va="center", transform=axes.transAxes
    )


def share_limits(axes: Sequence[Axes]) -> None:
    """Give axes one range of y, which covers the ranges of all."""
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def draw_cells(
    ax: Axes,
    values: np.ndarray,
    form: str = "{:.2f}",
    limits: tuple[float, float] | None = None,
    size: float = 6,
) -> None:
    """Draw a heat map [rows, columns] with its numbers; NaN is hatched, as whatever is missing.

    Args:
        limits: of the colours; of the values if None.
        size: of the numbers, in points.
    """
    count, width = values.shape
    ax.add_patch(Rectangle((-0.5, -0.5), width, count, zorder=-1, **MISSING))
    finite = values[np.isfinite(values)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (0.0, 1.0))
    ax.imshow(np.ma.masked_invalid(values), MAP, aspect="auto", vmin=low, vmax=high)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = form.format(value)
            text = text.lstrip("+-") if float(text) == 0 else text
            colour = "white" if value < (low + high) / 2 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color=colour)
    ax.grid(visible=False)


def in_millions(axes: Axes) -> None:
    """Label the x axis as frames, in the form 1.5M."""
    axes.xaxis.set_major_formatter(lambda frames, _: f"{frames / 1e6:g}M" if frames else "0")
    axes.set_xlabel("frames")
