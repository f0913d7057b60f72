"""The folder of a run's state, `state/<digest>`, and whose results an unfinished run has begun to write."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from remdm.base.files import remove, replace, whole_file

STATE = Path("state")
# In the folder of a state: the way from there to the folder of the results; and whole results.
RESULTS = "results"
KEPT = "kept"


def note_results(state: Path, folder: Path) -> None:
    """Write down which folder a run writes its results to; the note is removed with the state.

    Raises:
        OSError: the disk does not take it.
    """
    with whole_file(state / RESULTS) as partial:
        partial.write_text(os.path.relpath(folder, state), encoding="utf-8")


def noted_results(state: Path) -> str | None:
    """The folder that a run writes its results to; None where no unfinished run has noted one."""
    try:
        return os.path.normpath(state / (state / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove_state(state: Path) -> None:
    """Remove a state, at once by its name: a part of it left by a kill must not be resumed.

    Raises:
        OSError: it is not there, or cannot be renamed.
    """
    try:
        state.replace(_removed(state))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove(state)  # overlays rename no folder of their lower layer
    remove_leftovers(state)


def remove_leftovers(state: Path) -> None:
    """Remove what is left of a state if a process was killed while it removed it."""
    shutil.rmtree(_removed(state), ignore_errors=True)


def _removed(state: Path) -> Path:
    """Where a state is while it is removed; nothing resumes from there."""
    return state.with_name(f".{state.name}.finished")


def keep_results(state: Path, folder: Path) -> None:
    """Keep whole results in their state, as links where the file system has them, before others remove them.

    Raises:
        OSError: the disk does not take them.
    """
    shutil.copytree(folder, state / KEPT, copy_function=_link)


def forget_results(state: Path) -> None:
    """Keep them no longer."""
    shutil.rmtree(state / KEPT, ignore_errors=True)


def restore_results(state: Path, folder: Path, names: Sequence[str]) -> bool:
    """Put kept results back and remove the state; returns whether there were any.

    Args:
        names: the files and folders to put back; the last one says that the others are whole.

    Raises:
        OSError: the disk does not take one.
    """
    if not (state / KEPT / names[-1]).exists():
        return False
    for name in names:  # not moved, so that a kill between two of them loses none
        kept, partial = state / KEPT / name, folder / f".{name}.partial"
        remove(partial)
        if kept.is_dir():
            shutil.copytree(kept, partial, copy_function=_link)
        else:
            _link(str(kept), str(partial))
        replace(folder / name, partial)
    remove_state(state)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
