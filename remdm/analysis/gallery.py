"""A page of all films, which links to the pictures in their folders."""

import html
import os
from collections.abc import Sequence
from pathlib import Path
from string import Template

from remdm.analysis.film import film_title
from remdm.analysis.formats import write_text

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Recordings of ReMDM planners in Craftax</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; padding-bottom: .3rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
figure { margin: 0; max-width: 36rem; } img { max-width: 100%; } figcaption { opacity: .8; font-size: .9rem; }
</style></head><body>
<h1>Recordings</h1>
<p>Every policy in the same worlds, drawn by the same seed: the first episode, whatever its outcome.
<a href="report.html">The report</a> has the averages.</p>
$policies
</body></html>
""")
CAPTIONS = {
    "episode": "The game, the last executed actions, and the plan. Frame: current action; tick: executed.",
    "denoising": "Two plans while they are denoised. Frame: re-masked.",
    "path": "The world at the end of the episode, the path, and where each achievement was unlocked.",
    "unlocks": "Achievements unlocked by each step, and the expert's: every episode faint, their mean bold.",
}
VIEWER = "episode.html"


def draw(results: list[str], path: Path) -> None:
    """Write the page of the pictures and the episodes' pages among files of results, folder by folder."""
    output = path.with_suffix(".html")
    pictures = [Path(file) for file in results if Path(file).suffix in (".gif", ".png", ".html")]
    folders = dict.fromkeys(path.parent for path in pictures)
    policies = [_policy(folder, [p for p in pictures if p.parent == folder], output) for folder in folders]
    write_text(PAGE.substitute(policies="\n".join(policies)), output)


def _policy(folder: Path, pictures: Sequence[Path], output: Path) -> str:
    lines = [f"<h2>{html.escape(film_title(folder))}</h2>"]
    if (viewer := folder / VIEWER) in pictures:
        lines.append(f'<p><a href="{_link(viewer, output)}">Step by step</a></p>')
    figures = [_figure(picture, output) for picture in pictures if picture.name != VIEWER]
    return "\n".join([*lines, '<div class="pictures">', *figures, "</div>"])


def _link(file: Path, output: Path) -> str:
    return html.escape(Path(os.path.relpath(file, output.parent)).as_posix())


def _figure(picture: Path, output: Path) -> str:
    link = _link(picture, output)
    caption = html.escape(CAPTIONS[picture.stem])
    image = f'<img alt="{caption}" src="{link}" loading="lazy">'
    return f'<figure><a href="{link}">{image}</a><figcaption>{caption}</figcaption></figure>'
