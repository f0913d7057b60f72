"""The path of an episode on the map, and the achievements unlocked on the way."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from remdm.analysis.film import Film, read_filmed
from remdm.analysis.style import new_figure, readable, save

OUTLINE = [withStroke(linewidth=2.5, foreground="black")]


def draw(results: list[str], path: Path) -> None:
    """Draw the film among files of results."""
    film, title = read_filmed(results)
    draw_path(film, path.with_suffix(".png"), title)


def draw_path(film: Film, output: Path, title: str) -> None:
    """Draw each visited floor as it is at the end: the whole floor, and the part with the path.

    Numbers mark where achievements were unlocked; the text below lists them.
    """
    floors = visited_floors(film)
    lines = [f"{i}  {readable(name)} (step {step})" for i, (step, name) in enumerate(film.unlocked, 1)]
    note = "\n".join("    ".join(lines[i : i + 4]) for i in range(0, len(lines), 4))
    height = 5.6 * len(floors) + 0.6 + 0.2 * len(lines) / 4
    figure, axes = new_figure(10.6, height, len(floors), 2)
    for floor, whole, near in zip(floors, axes[::2], axes[1::2], strict=True):
        _draw_floor(whole, film, floor)
        _draw_floor(near, film, floor)
        _number_unlocks(near, film, floor)
        _zoom(near, film, floor)
        left, bottom = near.get_xlim()[0], near.get_ylim()[0]
        side = near.get_xlim()[1] - left
        whole.add_patch(Rectangle((left, bottom), side, -side, fill=False, linewidth=1.5, edgecolor="black"))
        whole.set_title(f"Floor {floor}" if len(film.world) > 1 else "The world")
        if whole.get_legend_handles_labels()[0]:
            whole.legend(loc="upper right", frameon=True, fontsize=9)
        near.set_title("Where the path runs")
    figure.supxlabel(note or "nothing unlocked", size=9, x=0.02, ha="left")
    figure.suptitle(f"{title}: {film.steps} steps")
    save(figure, output)


def visited_floors(film: Film) -> list[int]:
    """The floors on which the player was, in order."""
    return np.unique(film.places[:, 0]).tolist()


def map_pixels(film: Film, floor: int) -> np.ndarray:
    """A floor at the end of the episode, each block as the game draws it [rows p, columns p, 3]."""
    tiles = film.tiles[film.world[floor]]  # [rows, columns, p, p, 3]
    rows, columns, p, _, channels = tiles.shape
    return tiles.swapaxes(1, 2).reshape(rows * p, columns * p, channels)


def legs(film: Film, floor: int) -> list[np.ndarray]:
    """The places [N, 2] of each stay on a floor."""
    here = film.places[:, 0] == floor
    bounds = np.flatnonzero(np.diff(here, prepend=False, append=False)).reshape(-1, 2)
    return [film.places[start:end, 1:] for start, end in bounds]


def _draw_floor(ax: Axes, film: Film, floor: int) -> None:
    rows, columns = film.world.shape[1:]
    ax.imshow(map_pixels(film, floor), extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), alpha=0.75)
    for leg in legs(film, floor):
        ax.plot(leg[:, 1], leg[:, 0], color="white", linewidth=1.4, path_effects=OUTLINE)
    for index, label, colour in ((0, "start", "#6dd3ff"), (-1, "end", "#ff5c5c")):
        at, row, column = film.places[index]
        if at == floor:
            ax.plot(column, row, "o", color=colour, markersize=8, markeredgecolor="black", label=label)
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])


def _zoom(ax: Axes, film: Film, floor: int) -> None:
    """Show only a square around the path, within the map."""
    size = film.world.shape[1]
    places = film.places[film.places[:, 0] == floor, 1:]
    side = min(size, max(14, int(np.ptp(places, axis=0).max()) + 7))
    middle = (places.min(axis=0) + places.max(axis=0)) // 2
    top, left = np.clip(middle - side // 2, 0, size - side)
    ax.set_xlim(left - 0.5, left + side - 0.5)
    ax.set_ylim(top + side - 0.5, top - 0.5)


def _number_unlocks(ax: Axes, film: Film, floor: int) -> None:
    for i, (step, _) in enumerate(film.unlocked, 1):
        at, row, column = film.places[step]
        if at == floor:
            ax.annotate(
                str(i), (column, row), _fanned(film, i), textcoords="offset points", color="#ffd84d",
                weight="bold", path_effects=OUTLINE,
                arrowprops={"arrowstyle": "-", "color": "#ffd84d", "linewidth": 0.8},
            )  # fmt: skip


def _fanned(film: Film, i: int) -> tuple[float, float]:
    """The offset of the i-th achievement's number from its place, in points, in a direction of its own."""
    angle = 2 * np.pi * i / max(len(film.unlocked), 6)
    distance = 20 + 8 * (i % 2)
    return float(distance * np.cos(angle) - 4), float(distance * np.sin(angle) - 4)
