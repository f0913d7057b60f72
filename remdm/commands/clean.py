"""List states, logs and caches, which runs leave in addition to their results, or remove those named."""

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from remdm.base.errors import UserError, near
from remdm.base.machine import compilation_cache
from remdm.base.state import STATE, noted_results, remove_state
from remdm.config.layers import base_layers
from remdm.training.lock import locked


def run_clean(arguments: argparse.Namespace) -> None:
    """Print size, age and path of everything that can be removed; with paths, remove these instead.

    Raises:
        UserError: a path is not listed, or a process uses it; then nothing is removed.
    """
    removable = dict(_found())
    if not arguments.paths:
        for path, what in removable.items():
            size, changed = _measured(path)
            days = (time.time() - changed) / (24 * 3600)
            print(f"{size / 1e6:>9,.1f} MB  {days:>5,.1f} days  {path}  {what}")
        return
    chosen = dict.fromkeys(map(Path, arguments.paths))
    for path in chosen:
        if path not in removable:
            raise UserError(f"{path}: is not listed by `remdm clean`{near(str(path), map(str, removable))}")
    with ExitStack() as held:
        for path in chosen:
            if path.parent == STATE:
                held.enter_context(locked(path))
        for path in chosen:
            if path.parent == STATE:
                remove_state(path)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _found() -> Iterator[tuple[Path, str]]:
    """The paths that can be removed, each with a description."""
    for path in sorted(STATE.glob("*")):
        results = noted_results(path)
        yield path, "state" if results is None else f"state of a run that has not finished {results}"
    for folder, what in (("logs", "logs"), (".snakemake/log", "logs"), ("artifacts", "fetched from W&B")):
        for path in sorted(Path(folder).glob("*")):
            yield path, what
    cache = compilation_cache(base_layers(None)[0].values["compilation_cache_dir"])
    if cache is not None and cache.exists():
        yield cache, "compiled programs"


def _measured(path: Path) -> tuple[int, float]:
    """Bytes of a file or of all files in a folder, and the time of the last change."""
    size, changed = 0, 0.0
    below = (Path(root, name) for root, folders, files in os.walk(path) for name in (*folders, *files))
    for file in (path, *below):
        with suppress(FileNotFoundError):  # a run may be removing it
            status = file.lstat()
            size, changed = size + status.st_size, max(changed, status.st_mtime)
    return size, changed
