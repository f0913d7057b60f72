"""JAX's persistent cache of compiled programs: its folder, its size, and entries that do not load."""

import functools
import logging
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from remdm.base.machine import compilation_cache

logger = logging.getLogger("remdm")

LARGEST = 2 * 2**30  # bytes; JAX's own limit stops all writing once a kill has left an entry without its time
UNREAD = re.compile(r"Error reading persistent compilation cache entry for '([^'/]+)'")
# Followed by the error's type and, of a system error, its number, text and file.
UNWRITTEN = re.compile(
    r"Error writing persistent compilation cache entry for '[^']+': \w+: (?:\[Errno \d+\] )?([^:]+)"
)


def use_cache(folder: str) -> None:
    """Make JAX cache compiled programs in a folder.

    The least recently used entries are removed above the size limit. An entry that does not load is replaced;
    JAX itself would warn of it at every start. A folder that cannot be made or written is reported once.
    """
    cache = compilation_cache(folder)
    if cache is None:
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _warn_of(cache, f"cannot be made ({error.strerror})")
        return
    _remove_oldest(cache)
    _heed_warnings(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _remove_oldest(cache: Path) -> None:
    """Remove the least recently used entries above the size limit; other processes may do so at once."""
    entries = []
    for entry in cache.glob("*-cache"):
        with suppress(OSError):
            entries.append((entry.stat(), entry))
    total = 0
    for stat, entry in sorted(entries, key=lambda each: each[0].st_atime, reverse=True):
        total += stat.st_size
        if total > LARGEST:
            _remove(entry)


def _warn_of(cache: Path, problem: str) -> None:
    logger.warning(
        "compilation cache %s: %s, so nothing is cached; name another folder by compilation_cache_dir",
        cache, problem,
    )  # fmt: skip


def _heed_warnings(cache: Path) -> None:
    """Shorten JAX's warnings to one line; an entry that does not load is removed, to be written again."""
    shown, warn_once = warnings.showwarning, functools.cache(_warn_of)

    def showwarning(message: Warning | str, *where: Any, **more: Any) -> None:
        if unwritten := UNWRITTEN.match(str(message)):
            return warn_once(cache, f"cannot be written ({unwritten[1]})")
        unread = UNREAD.match(str(message))
        if unread is None:
            return shown(message, *where, **more)
        for entry in cache.glob(f"{unread[1]}-*-cache"):  # also those of other programs of that name
            _remove(entry)
        logger.warning("compilation cache %s: %s does not load and is compiled again", cache, unread[1])

    warnings.showwarning = showwarning


def _remove(entry: Path) -> None:
    with suppress(OSError):
        entry.unlink()
