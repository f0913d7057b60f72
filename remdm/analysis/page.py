"""A page that needs neither network nor server: one file with its style, its scripts and its data.

Its content security policy allows these scripts and no request. What the scripts write is text, never markup.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from remdm.base.files import whole_file

WEB = Path(__file__).with_name("web")
SHARED = "page"  # what all pages have: their frame, and the style and the script that they begin with


def build_page(
    name: str, scripts: Sequence[str], parts: Mapping[str, str], libraries: Sequence[str] = ()
) -> str:
    """The page whose body is the template `web/<name>.html`.

    Args:
        scripts: its own, `web/<name>.<script>.js`, one script in the page in this order.
        parts: markup for the template's places, and the page's `title`.
        libraries: files of `web/` by others; their styles are inline, so with them inline styles are allowed.
    """
    style = _read(f"{SHARED}.css") + _read(f"{name}.css")
    script = _read(f"{SHARED}.js") + "".join(_read(f"{name}.{own}.js") for own in scripts)
    sources = [*map(_read, libraries), script]
    inline = "'unsafe-inline'" if libraries else _hash(style)
    policy = (
        f"default-src 'none'; form-action 'none'; base-uri 'none'; style-src {inline}; "
        f"script-src {' '.join(map(_hash, sources))}"
        + ("; img-src data: blob:" if libraries else "")  # a figure that is saved as a picture
    )
    code = "\n".join(f"<script>{source}</script>" for source in sources)
    body = Template(_read(f"{name}.html")).substitute(parts)
    frame = Template(_read(f"{SHARED}.html"))
    return frame.substitute(title=parts["title"], policy=policy, style=style, body=body, code=code)


def write_page(page: str, output: Path) -> None:
    """Write a page, all of it or nothing."""
    with whole_file(output) as partial:
        partial.write_text(page, encoding="utf-8")


def as_json(value: Any) -> str:
    """A value for an element of the page; no string in it can end that element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def compressed(parts: Iterable[bytes]) -> str:
    """Bytes for an element of the page, compressed; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(b"".join(parts), mtime=0)).decode()


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A script or a style as the content security policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
