"""An episode to step through, as one page that needs neither network nor server.

The page is `web/viewer.html` with its style and scripts in it, and with the arrays of one film or of two as
compressed data.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from remdm.analysis.film import Film, film_title, read_film, token_colour
from remdm.analysis.page import as_json, build_page, compressed, write_page
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
# Fields of numbers in [0, 1], which become whole ones of 255.
SHARES = ("light", "top_probs", "confidence", "remask_probs", "expert_probs")


def draw(results: list[str], path: Path) -> None:
    """Draw the film in the folder of `path`, and beside it the expert's if it is among files of results."""
    folders = [Path(file).parent for file in results if Path(file).name == "film.npz"]
    folders.sort(key=lambda folder: folder != path.parent)
    write_viewer(folders, path)


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
    write_page(viewer_page(title, films, records), output)


def viewer_page(title: str, films: Sequence[Film], records: Sequence[dict[str, Any]]) -> str:
    """The page of some films in one world.

    Args:
        records: of each film its `label`, and whether it is `compared` with an expert that is another.
    """
    sprites, views = _shared_sprites(films)
    pack = _Pack()
    first = films[0]
    header = {
        "actions": [_action(str(name)) for name in first.action_names],
        "arrays": {"sprites": pack.add(sprites, "u1"), "tiles": pack.add(first.tiles, "u1")},
        "films": [
            record | _described(film._replace(views=seen), pack)
            for film, seen, record in zip(films, views, records, strict=True)
        ],
    }
    parts = {"title": html.escape(title), "header": as_json(header), "data": compressed(pack.parts)}
    return build_page("viewer", SCRIPTS, parts)


class _Pack:
    """Arrays one after the other, each where its type may lie."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: np.ndarray, kind: str) -> list[Any]:
        """Append an array; where it lies: its type, its offset in bytes and its shape."""
        data = np.ascontiguousarray(array, np.dtype(f"<{kind}")).tobytes()
        place = [kind, self.size, *array.shape]
        data += bytes(-len(data) % 4)
        self.parts.append(data)
        self.size += len(data)
        return place


def _described(film: Film, pack: _Pack) -> dict[str, Any]:
    """What the page is told of a film, its arrays in a pack."""
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
    """The name of a field as scripts write it."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _bytes(shares: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] as whole ones of 255."""
    return np.round(255 * np.clip(shares.astype(np.float32), 0, 1))


def _shared_sprites(films: Sequence[Film]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The sprites of all films, each once [N, p, p, 3], and every film's views of them."""
    sprites = np.concatenate([film.sprites for film in films])
    unique, places = np.unique(sprites, axis=0, return_inverse=True)
    starts = np.cumsum([0, *(len(film.sprites) for film in films)])
    places = places.reshape(-1)
    return unique, [places[start + film.views] for start, film in zip(starts, films, strict=False)]


def _same_world(one: Film, other: Film) -> bool:
    """Whether two films begin alike, by what the player sees and where."""
    names = ("action_names", "achievements", "local_view")
    if any(getattr(one, name).tolist() != getattr(other, name).tolist() for name in names):
        return False
    return bool((one.places[0] == other.places[0]).all() and (one.frames[0] == other.frames[0]).all())


def _action(name: str) -> dict[str, str]:
    """An action's name, its colour, and the ink that is read best on it."""
    colour = token_colour(name)
    light = luminance(colour)
    return {"name": name, "colour": colour, "ink": "#000" if light > 0.179 else "#fff"}


def luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
