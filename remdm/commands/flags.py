"""Configuration keys as flags."""

import argparse
from collections.abc import Iterable
from typing import Any

from remdm.config.reference import Key, help_text


def add_flags(sub: argparse.ArgumentParser, keys: Iterable[Key]) -> None:
    """Add a flag for each key, in the groups of the reference."""
    groups: dict[str, Any] = {}
    for key in keys:
        if key.title not in groups:
            groups[key.title] = sub.add_argument_group(key.title)
        _add_flag(groups[key.title], key)


def _add_flag(group: Any, key: Key) -> None:
    """Add a flag whose value is parsed like those in files; a boolean also gets `--KEY` and `--no-KEY`."""
    text = help_text(key).replace("%", "%%")
    if key.kind == "boolean":
        group.add_argument(f"--{key.name}", metavar="X", nargs="?", const="true", help=text)
        off = {"action": "store_const", "const": "false", "help": argparse.SUPPRESS}
        group.add_argument(f"--no_{key.name}", dest=key.name, **off)
    else:
        group.add_argument(f"--{key.name}", metavar="X", help=text)
