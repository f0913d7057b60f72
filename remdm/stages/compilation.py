"""JAX's persistent cache of compiled programs: where it is, its size, and entries that do not load."""

import logging
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from remdm.base.machine import compilation_cache

logger = logging.getLogger("remdm")

LARGEST = 2 * 2**30  # bytes; JAX's own limit writes nothing more once a kill left an entry without its time
UNREAD = re.compile(r"Error reading persistent compilation cache entry for '([^'/]+)'")


def use_cache(folder: str) -> None:
    """Have JAX keep what it compiles.

    The entries used longest ago are removed while there are too many. One that does not load is replaced;
    JAX alone would warn of it for ever.
    """
    cache = compilation_cache(folder)
    if cache is None:
        return
    _remove_oldest(cache)
    _replace_unread(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _remove_oldest(cache: Path) -> None:
    """Remove what was used longest ago, until the rest is small enough; other processes may do so too."""
    entries = []
    for entry in cache.glob("*-cache"):
        with suppress(OSError):
            entries.append((entry.stat(), entry))
    total = 0
    for stat, entry in sorted(entries, key=lambda each: each[0].st_atime, reverse=True):
        total += stat.st_size
        if total > LARGEST:
            _remove(entry)


def _replace_unread(cache: Path) -> None:
    """Where JAX says that an entry does not load, remove it, so that JAX writes it again, and say so."""
    shown = warnings.showwarning

    def showwarning(message: Warning | str, *where: Any, **more: Any) -> None:
        unread = UNREAD.match(str(message))
        if unread is None:
            return shown(message, *where, **more)
        for entry in cache.glob(f"{unread[1]}-*-cache"):  # those of other programs of that name too
            _remove(entry)
        logger.warning("compilation cache %s: %s does not load and is compiled again", cache, unread[1])

    warnings.showwarning = showwarning


def _remove(entry: Path) -> None:
    with suppress(OSError):
        entry.unlink()
