"""A page that needs neither network nor server: one file with its style, its scripts and its data.

Its content security policy allows only these scripts and no request. The scripts write text, never markup.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

WEB = Path(__file__).with_name("web")
SHARED = "page"  # of the files that all pages share: the frame, and the first style and script


def build_page(
    name: str, scripts: Sequence[str], parts: Mapping[str, str], libraries: Sequence[str] = ()
) -> str:
    """The page whose body is the template `web/<name>.html`.

    Args:
        scripts: of its own, `web/<name>.<script>.js`, joined in this order into one script.
        parts: markup for the template's placeholders, and the page's `title`.
        libraries: third-party scripts in `web/`; they set inline styles, which are then allowed.
    """
    style = _read(f"{SHARED}.css") + _read(f"{name}.css")
    script = _read(f"{SHARED}.js") + "".join(_read(f"{name}.{own}.js") for own in scripts)
    sources = [*map(_read, libraries), script]
    inline = "'unsafe-inline'" if libraries else _hash(style)
    policy = (
        f"default-src 'none'; form-action 'none'; base-uri 'none'; style-src {inline}; "
        f"script-src {' '.join(map(_hash, sources))}"
        + ("; img-src data: blob:" if libraries else "")  # to save a figure as a picture
    )
    code = "\n".join(f"<script>{source}</script>" for source in sources)
    body = Template(_read(f"{name}.html")).substitute(parts)
    frame = Template(_read(f"{SHARED}.html"))
    return frame.substitute(title=parts["title"], policy=policy, style=style, body=body, code=code)


def as_json(value: Any) -> str:
    """A value as JSON for an element of the page; no string in it can end that element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def compressed(parts: Iterable[bytes]) -> str:
    """Bytes for an element of the page, compressed; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(b"".join(parts), mtime=0)).decode()


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash by which the content security policy allows a script or a style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
