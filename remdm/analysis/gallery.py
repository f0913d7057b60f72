"""All films side by side: a page that links the pictures where they lie."""

import html
import os
from collections.abc import Sequence
from pathlib import Path
from string import Template

from remdm.analysis.film import film_title
from remdm.base.files import whole_file

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
<p>Every policy in the same worlds, drawn by the same seed: the first episode as it was played, whatever came
of it. <a href="report.html">The report</a> says how they play on average.</p>
$policies
</body></html>
""")
CAPTIONS = {
    "episode": "The game, the last executed actions, and the plan. Frame: current action; tick: executed.",
    "denoising": "Two plans while they are denoised. Frame: re-masked.",
    "path": "The world at the end of the episode, the path, and where what was unlocked.",
    "unlocks": "Achievements unlocked by each step, beside the expert: every episode faint, their mean bold.",
}
VIEWER = "episode.html"


def draw(results: list[str], path: Path) -> None:
    """Write the page of the pictures and the episodes' pages among files of results, folder by folder."""
    output = path.with_suffix(".html")
    pictures = [Path(file) for file in results if Path(file).suffix in (".gif", ".png", ".html")]
    folders = dict.fromkeys(path.parent for path in pictures)
    policies = [_policy(folder, [p for p in pictures if p.parent == folder], output) for folder in folders]
    with whole_file(output) as partial:
        partial.write_text(PAGE.substitute(policies="\n".join(policies)), encoding="utf-8")


def _policy(folder: Path, pictures: Sequence[Path], output: Path) -> str:
    figures = "\n".join(_figure(picture, output) for picture in pictures if picture.name != VIEWER)
    pages = [
        f'<p><a href="{_link(page, output)}">Step by step</a></p>' for page in pictures if page.name == VIEWER
    ]
    heading = f"<h2>{html.escape(film_title(folder))}</h2>"
    return "\n".join([heading, *pages, f'<div class="pictures">\n{figures}\n</div>'])


def _link(file: Path, output: Path) -> str:
    return html.escape(Path(os.path.relpath(file, output.parent)).as_posix())


def _figure(picture: Path, output: Path) -> str:
    link = _link(picture, output)
    caption = html.escape(CAPTIONS[picture.stem])
    image = f'<img alt="{caption}" src="{link}" loading="lazy">'
    return f'<figure><a href="{link}">{image}</a><figcaption>{caption}</figcaption></figure>'
