"""An episode as an animated picture: the game and the plan that is being executed."""

from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from remdm.analysis.film import Film, read_filmed, token_colour
from remdm.analysis.style import readable
from remdm.base.files import whole_file

MAX_BYTES = 3_000_000
MAX_FRAMES = 300
MILLISECONDS = 130
LAST_MILLISECONDS = 2500
PALETTE_COLOURS = 64
SHOWN_STEPS = 12  # for which the caption shows a new achievement

SCALE = 2
MARGIN, TITLE, CAPTION = 8, 24, 66
CHIP_HEIGHT, CHIP_GAP = 16, 2
BACKGROUND, INK, FAINT, MARK = "#16181d", "#f2f2f2", "#8b909a", "#ffd84d"


def draw(results: list[str], path: Path) -> None:
    """Draw the film among files of results."""
    film, title = read_filmed(results)
    draw_episode(film, path.with_suffix(".gif"), title)


def draw_episode(film: Film, output: Path, title: str) -> int:
    """Write the GIF, of as many frames as fit in `MAX_BYTES`.

    Returns:
        The stride: the number of steps between frames, which the caption contains.
    """
    stride = -(-film.steps // MAX_FRAMES)
    while len(data := _encoded(film, title, stride)) > MAX_BYTES:
        stride = max(stride + 1, -(-stride * len(data) // MAX_BYTES))
    with whole_file(output) as partial:
        partial.write_bytes(data)
    return stride


def shown_steps(steps: int, stride: int) -> list[int]:
    """The steps of the frames: each `stride`-th, and the end."""
    return [*range(0, steps, stride), steps]


def columns(film: Film, step: int, rows: int) -> list[tuple[str, list[tuple[str, str]]]]:
    """The columns next to the game at a step: a heading, and actions with their marks.

    A mark is `done`, `now` or `next`. The first column contains the last executed actions, the others the
    plan. Without plans there is only the first column, and the current action is at its end.
    """
    names = film.action_names.tolist()
    executed = [(names[action], "done") for action in film.actions[:step]]
    if step == film.steps:
        return [("executed", executed[-rows:])]
    if not film.plans.shape[1]:
        return [("executed", [*executed, (names[film.actions[step]], "now")][-rows:])]
    position = int(film.positions[step])
    marks = ["done"] * position + ["now"] + ["next"] * (film.plans.shape[1] - position - 1)
    plan = list(zip((names[token] for token in film.plans[step]), marks, strict=True))
    parts = [plan[first : first + rows] for first in range(0, len(plan), rows)]
    return [("executed", executed[-rows:]), *(("" if i else "plan", part) for i, part in enumerate(parts))]


def _encoded(film: Film, title: str, stride: int) -> bytes:
    steps = shown_steps(film.steps, stride)
    pictures = [_picture(film, step, title, stride) for step in steps]
    sample = pictures[:: max(1, len(pictures) // 12)]
    mosaic = Image.fromarray(np.concatenate([np.asarray(picture) for picture in sample]))
    palette = _palette(mosaic)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    durations = [MILLISECONDS] * (len(steps) - 1) + [LAST_MILLISECONDS]
    stream = BytesIO()
    first.save(stream, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return stream.getvalue()


def _palette(mosaic: Image.Image) -> Image.Image:
    """The colours of all frames: those of the text, and the most frequent of the others."""
    reserved = [BACKGROUND, INK, FAINT, MARK]
    found = mosaic.quantize(PALETTE_COLOURS - len(reserved), dither=Image.Dither.NONE).getpalette() or []
    colours = [value for colour in reserved for value in ImageColor.getrgb(colour)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours, *found][: 3 * PALETTE_COLOURS])
    return palette


def _picture(film: Film, step: int, title: str, stride: int) -> Image.Image:
    """One frame."""
    game = Image.fromarray(film.frames[step])
    game = game.resize((SCALE * game.width, SCALE * game.height), Image.Resampling.NEAREST)
    rows = game.height // (CHIP_HEIGHT + CHIP_GAP) - 1
    panels = columns(film, step, rows)
    most = 1 - (-film.plans.shape[1] // rows)  # columns, at any step
    chip = 28 + round(max(_font(11).getlength(readable(name)) for name in film.action_names.tolist()))
    width = 2 * MARGIN + game.width + most * (MARGIN + chip)
    width = max(width, 2 * MARGIN + round(_font(13).getlength(title)))
    picture = Image.new("RGB", (width, TITLE + game.height + CAPTION), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 5), title, INK, _font(13))
    picture.paste(game, (MARGIN, TITLE))
    for i, (heading, actions) in enumerate(panels):
        left = 2 * MARGIN + game.width + i * (MARGIN + chip)
        draw.text((left, TITLE), heading, FAINT, _font(12))
        for row, (action, mark) in enumerate(actions):
            top = TITLE + (row + 1) * (CHIP_HEIGHT + CHIP_GAP)
            _chip(draw, (left, top, left + chip - 1, top + CHIP_HEIGHT - 1), action, mark)
    for row, (text, ink) in enumerate(_caption(film, step, stride)):
        draw.text((MARGIN, TITLE + game.height + 6 + 19 * row), text, ink, _font(12))
    return picture


def _chip(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], action: str, mark: str) -> None:
    """An action as a coloured bar: framed while it is executed, then pale and ticked."""
    is_done = mark == "done"
    colour: tuple[int, ...] = ImageColor.getrgb(token_colour(action))
    if is_done:  # a third of the colour, the rest of the background
        pairs = zip(colour, ImageColor.getrgb(BACKGROUND), strict=True)
        colour = tuple(round(one / 3 + 2 * other / 3) for one, other in pairs)
    draw.rectangle(box, colour, MARK if mark == "now" else None, 2)
    sign = {"done": "✓ ", "now": "▶ ", "next": ""}[mark]
    draw.text((box[0] + 5, box[1] + 1), sign + readable(action), FAINT if is_done else INK, _font(11))


def _caption(film: Film, step: int, stride: int) -> list[tuple[str, str]]:
    """Lines and their colours."""
    earned = film.rewards[:step].sum()
    unlocked = [(when, name) for when, name in film.unlocked if when <= step]
    lines = [
        (f"step {step} of {film.steps}   return {earned:.1f}   {len(unlocked)} achievements", INK),
        (" ", INK),
        ("every step" if stride == 1 else f"every {stride} steps", FAINT),
    ]
    fresh = [readable(name) for when, name in unlocked if step - when < SHOWN_STEPS]
    if step == film.steps:
        lines[1] = ("the episode is over" if film.ended[0] else f"cut after {step} steps", MARK)
    elif fresh:
        lines[1] = (f"unlocked: {', '.join(fresh[-2:])}", MARK)
    return lines


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of the other figures."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
