"""A page to step through an episode, which needs neither network nor server.

The page is `web/viewer.html` with its style and scripts, and with the arrays of one or two films as
compressed data.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from remdm.analysis.film import Film, film_files, film_title, read_film, token_colour
from remdm.analysis.formats import write_text
from remdm.analysis.page import as_json, build_page, compressed
from remdm.analysis.results import Result
from remdm.analysis.style import label
from remdm.base.errors import UserError

SCRIPTS = ("data", "world", "plan", "controls")  # one script in the page, in this order
# The types that fields of a film have in the page.
ARRAYS = {
    "actions": "u1", "plans": "u1", "positions": "u2", "rewards": "f4", "places": "i2", "world": "u1",
    "changes": "i4", "vitals": "i2", "inventory": "i2", "trace_steps": "i4", "trace_locked": "u2",
    "traces": "u1", "top_actions": "u1", "local_view": "u2",
}  # fmt: skip
# Fields of numbers in [0, 1], which become integers from 0 to 255.
SHARES = ("light", "top_probs", "confidence", "remask_probs", "expert_probs")


def draw(results: list[str], path: Path) -> None:
    """Write the page of the film in the folder of `path`, and of the expert's if it is among the results."""
    folders = [file.parent for file in film_files(results)]
    write_viewer(sorted(folders, key=lambda folder: folder != path.parent), path)


def write_viewer(folders: Sequence[Path], output: Path) -> None:
    """Write the page.

    Args:
        folders: results of one film, or of two in the same world.

    Raises:
        UserError: two show different games or worlds.
    """
    films = [read_film(folder / "film.npz") for folder in folders]
    for folder, film in zip(folders[1:], films[1:], strict=True):
        if not _same_world(films[0], film):
            raise UserError(f"{folder}: shows another world than {folders[0]}; film both with one seed")
    title = " beside ".join(film_title(folder) for folder in folders)
    records = [_record(film, Result(folder)) for film, folder in zip(films, folders, strict=True)]
    write_text(viewer_page(title, films, records), output)


def viewer_page(title: str, films: Sequence[Film], records: Sequence[dict[str, Any]]) -> str:
    """The page of some films in one world.

    Args:
        records: of each film its `label`, and whether it is `compared` with an expert.
    """
    sprites, views = _shared_sprites(films)
    pack = _Pack()
    first = films[0]
    header = {
        "actions": [_action(name) for name in first.action_names.tolist()],
        "arrays": {"sprites": pack.add(sprites, "u1"), "tiles": pack.add(first.tiles, "u1")},
        "films": [
            record | _described(film._replace(views=seen), pack)
            for film, seen, record in zip(films, views, records, strict=True)
        ],
    }
    parts = {"title": html.escape(title), "header": as_json(header), "data": compressed(pack.parts)}
    return build_page("viewer", SCRIPTS, parts)


class _Pack:
    """Concatenated arrays, each aligned to four bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: np.ndarray, kind: str) -> list[Any]:
        """Append an array and return its type, its offset in bytes and its shape."""
        data = np.ascontiguousarray(array, np.dtype(f"<{kind}")).tobytes()
        place = [kind, self.size, *array.shape]
        data += bytes(-len(data) % 4)
        self.parts.append(data)
        self.size += len(data)
        return place


def _described(film: Film, pack: _Pack) -> dict[str, Any]:
    """The page's record of a film, whose arrays are added to a pack."""
    arrays = {name: pack.add(getattr(film, name), kind) for name, kind in ARRAYS.items()}
    arrays |= {name: pack.add(_bytes(getattr(film, name)), "u1") for name in SHARES}
    arrays |= {
        "unlocked_at": pack.add(film.unlocked_at[0], "i4"),
        "views": pack.add(film.views, "u2" if film.views.max(initial=0) < 2**16 else "u4"),
    }
    return {
        "arrays": {_camel(name): place for name, place in arrays.items()},
        "ended": bool(film.ended[0]),
        "died": film.died,
        "floors": len(film.world),
        "achievementNames": film.achievements.tolist(),
        "vitalsNames": film.vitals_names.tolist(),
        "inventoryNames": film.inventory_names.tolist(),
    }


def _record(film: Film, result: Result) -> dict[str, Any]:
    compared = result.config["policy"] != "expert" and film.expert_probs.shape[1] > 0
    return {"label": label(result.name), "compared": compared}


def _camel(name: str) -> str:
    """The name of a field in the scripts' notation."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _bytes(shares: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] as integers from 0 to 255."""
    return np.round(255 * np.clip(shares.astype(np.float32), 0, 1))


def _shared_sprites(films: Sequence[Film]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The sprites of all films, each once [N, p, p, 3], and every film's views of them."""
    sprites = np.concatenate([film.sprites for film in films])
    unique, places = np.unique(sprites, axis=0, return_inverse=True)
    starts = np.cumsum([0, *(len(film.sprites) for film in films)])
    places = places.reshape(-1)
    return unique, [places[start + film.views] for start, film in zip(starts, films, strict=False)]


def _same_world(one: Film, other: Film) -> bool:
    """Whether two films begin with the same picture and place."""
    names = ("action_names", "achievements", "local_view")
    if any(getattr(one, name).tolist() != getattr(other, name).tolist() for name in names):
        return False
    return bool((one.places[0] == other.places[0]).all() and (one.frames[0] == other.frames[0]).all())


def _action(name: str) -> dict[str, str]:
    """An action's name, its colour, and the ink that has the higher contrast with it."""
    colour = token_colour(name)
    return {"name": name, "colour": colour, "ink": "#000" if luminance(colour) > 0.179 else "#fff"}


def luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
