"""How every figure looks, and who has which colour."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remdm.config.files import whole_file

COLOURS = {
    "expert": "#3b3b98",
    "offline": "#e17055",
    "online": "#00897b",
    "random": "#8d99ae",
    "planner": "#b8860b",
}
LABELS = {
    "expert": "Expert",
    "offline": "Offline BC",
    "online": "DAgger",
    "random": "Random",
    "planner": "Planner",
}


def role(policy: str) -> str:
    """What a policy is, by its name: `ppo...` is an expert, `<method>-<preset>` a planner of that method."""
    method = policy.split("-")[0]
    if method in LABELS:
        return method
    return "expert" if policy.startswith(("ppo", "expert")) else "planner"


def label(policy: str) -> str:
    """A policy's name in figures: `offline-demo` is `Offline BC (demo)`."""
    named = policy.removeprefix(role(policy)).lstrip("-_")
    return f"{LABELS[role(policy)]} ({named})" if named else LABELS[role(policy)]


def colour(policy: str) -> str:
    """A policy's colour."""
    return COLOURS[role(policy)]


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure of width x height inches and its axes, row by row; no display is needed."""
    matplotlib.rcParams.update(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "legend.frameon": False,
        }
    )
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, all of it or nothing."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=130)


def in_millions(axes: Axes) -> None:
    """Write frames on the x axis as 1.5M."""
    axes.xaxis.set_major_formatter(lambda frames, _: f"{frames / 1e6:g}M")
    axes.set_xlabel("frames")
