"""Plans while they are denoised: their tokens after each denoising step."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from remdm.analysis.film import MASK, Film, read_filmed, token_colour
from remdm.analysis.style import new_figure, readable, save

MAX_PLANS = 2
REMASKED = "#d4145a"


def draw(results: list[str], path: Path) -> None:
    """Draw the film among files of results."""
    film, title = read_filmed(results)
    draw_denoising(film, path.with_suffix(".png"), title)


def draw_denoising(film: Film, output: Path, title: str) -> None:
    """Draw the plans with the most re-masked tokens: a row for each denoising step.

    Re-masked cells are framed and crossed.
    """
    chosen = chosen_plans(film)
    steps, horizon = film.traces.shape[1:]
    width = max(7.0, 1.2 + 0.62 * horizon)
    figure, axes = new_figure(width, len(chosen) * (1.1 + 0.4 * (steps + 1)) + 0.7, len(chosen))
    for ax, k in zip(axes, chosen, strict=True):
        _draw_plan(ax, film, k)
        ax.set_title(f"Plan at step {film.trace_steps[k]} of the episode", loc="left")
    marks = [
        Patch(facecolor=MASK, label="mask"),
        Patch(facecolor="white", edgecolor=REMASKED, linewidth=2, label="re-masked"),
        Patch(facecolor="white", edgecolor="black", hatch="////", label="executed before, locked"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=3)
    figure.suptitle(title)
    save(figure, output)


def chosen_plans(film: Film) -> list[int]:
    """The plans with the most re-masked tokens, in the order of the episode."""
    plans = sorted(range(len(film.traces)), key=lambda k: -remasked(film, k).sum())
    return sorted(plans[:MAX_PLANS])


def tokens_over_steps(film: Film, k: int) -> np.ndarray:
    """The tokens of a plan before the first denoising step and after every step [1 + S, H]."""
    tokens = film.traces[k]
    locked = np.arange(tokens.shape[1]) < film.trace_locked[k]
    start = np.where(locked, tokens[0], len(film.action_names))
    return np.vstack([start, tokens])


def remasked(film: Film, k: int) -> np.ndarray:
    """Where a token of a plan was re-masked [1 + S, H]."""
    mask = tokens_over_steps(film, k) == len(film.action_names)
    return np.vstack([np.zeros_like(mask[:1]), mask[1:] & ~mask[:-1]])


def _draw_plan(ax: Axes, film: Film, k: int) -> None:
    tokens, again = tokens_over_steps(film, k), remasked(film, k)
    names = film.action_names.tolist()
    rows, horizon = tokens.shape
    for (row, column), token in np.ndenumerate(tokens):
        masked, locked = token == len(names), column < film.trace_locked[k]
        colour = MASK if masked else token_colour(names[token])
        hatch = "////" if locked else None
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", hatch=hatch))
        if again[row, column]:
            inner = (column + 0.06, row + 0.06)
            ax.add_patch(Rectangle(inner, 0.88, 0.88, fill=False, edgecolor=REMASKED, linewidth=2))
            ax.text(column + 0.5, row + 0.5, "×", color=REMASKED, ha="center", va="center", weight="bold")
        fresh = row in (0, rows - 1) or tokens[row - 1, column] != token
        if fresh and not masked:
            text = readable(names[token]).replace(" ", "\n")
            ax.text(column + 0.5, row + 0.5, text, color="white", size=6.5, ha="center", va="center")
    ax.set_xlim(0, horizon)
    ax.set_ylim(rows, 0)
    ax.set_xticks(np.arange(horizon) + 0.5, map(str, range(horizon)))
    ax.set_yticks(np.arange(rows) + 0.5, ["start", *map(str, range(1, rows))])
    ax.set_xlabel("position in the plan")
    ax.set_ylabel("denoising step")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
