"""The achievements that a policy and its expert have unlocked by each step."""

from pathlib import Path

import numpy as np

from remdm.analysis.film import Film, film_files, film_title, read_film
from remdm.analysis.style import ROLES, label, new_figure, role, save


def draw(results: list[str], path: Path) -> None:
    """Draw the films among files of results, those of a policy and of its expert."""
    films = {file.parents[1].name: read_film(file) for file in film_files(results)}
    draw_unlocks(films, path.with_suffix(".png"), film_title(path.parent))


def draw_unlocks(films: dict[str, Film], output: Path, title: str) -> None:
    """Draw the share of all achievements unlocked over time: every episode faint, their mean bold.

    Achievements of an episode that has ended continue to count.

    Args:
        films: by the names of the policies.
    """
    longest = max(int(film.lengths.max()) for film in films.values())
    figure, (ax,) = new_figure(7, 4.4)
    time = np.arange(longest + 1)
    for name, film in films.items():
        colour = ROLES[role(name)].colour
        shares = 100 * unlocked_share(film, longest)
        for share in shares:
            ax.plot(time, share, color=colour, alpha=0.22, linewidth=0.8, drawstyle="steps-post")
        mean, count = shares.mean(axis=0), len(shares)
        text = f"{label(name)}, mean of {count} episodes" if count > 1 else label(name)
        ax.plot(time, mean, color=colour, linewidth=2.2, drawstyle="steps-post", label=text)
    first = next(iter(films.values()))
    ax.set_xlabel("steps in the episode")
    ax.set_ylabel(f"achievements unlocked, % of {len(first.achievements)}")
    ax.set_ylim(bottom=0)
    ax.set_xlim(0, longest)
    ax.legend(loc="upper left", fontsize=9)
    ax.set_title(title)
    save(figure, output)


def unlocked_share(film: Film, longest: int) -> np.ndarray:
    """The share of all achievements unlocked in each episode by each step [E, longest + 1]."""
    at = film.unlocked_at[:, None, :]
    return np.mean((at > 0) & (at <= np.arange(longest + 1)[:, None]), axis=-1)
