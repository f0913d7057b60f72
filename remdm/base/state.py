"""The folder of a run's state, `state/<digest>`, and the results that an unfinished run has begun."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from remdm.base.files import remove, replace, whole_file

STATE = Path("state")
# In the folder of a state: the relative path of the folder of the results, and complete results.
RESULTS = "results"
KEPT = "kept"


def note_results(state: Path, folder: Path) -> None:
    """Record the folder to which a run writes its results; the note is removed with the state.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(state / RESULTS) as partial:
        partial.write_text(os.path.relpath(folder, state), encoding="utf-8")


def noted_results(state: Path) -> str | None:
    """The folder to which a run writes its results; None if no unfinished run has recorded one."""
    try:
        return os.path.normpath(state / (state / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove_state(state: Path) -> None:
    """Remove a state, after renaming it: after a kill, a partly removed state must not be resumed.

    Raises:
        OSError: it does not exist, or cannot be renamed.
    """
    try:
        state.replace(_removed(state))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove(state)  # overlays rename no folder of their lower layer
    remove_leftovers(state)


def remove_leftovers(state: Path) -> None:
    """Remove the rest of a state whose removal was killed."""
    shutil.rmtree(_removed(state), ignore_errors=True)


def _removed(state: Path) -> Path:
    """The path of a state while it is removed; no run resumes from there."""
    return state.with_name(f".{state.name}.finished")


def keep_results(state: Path, folder: Path) -> None:
    """Keep complete results in their state, as links where possible, before Snakemake removes them.

    Raises:
        OSError: they cannot be written.
    """
    shutil.copytree(folder, state / KEPT, copy_function=_link)


def forget_results(state: Path) -> None:
    """Remove kept results."""
    shutil.rmtree(state / KEPT, ignore_errors=True)


def restore_results(state: Path, folder: Path, names: Sequence[str]) -> bool:
    """Restore kept results and remove the state; returns whether there were any.

    Args:
        names: the files and folders to restore; the presence of the last one means that all are complete.

    Raises:
        OSError: one cannot be written.
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
