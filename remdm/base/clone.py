"""The clone of the repository that this code is in."""

import logging
import os
import subprocess
from pathlib import Path

logger = logging.getLogger("remdm")

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0  # time limit of a git command, which a file system may block


def git_commit(root: Path = ROOT) -> str | None:
    """The commit of the source, with `+` if files differ from it.

    None outside a clone, for example in an environment inside another repository; also None, with a warning,
    if git fails, as it does in the clone of another user.

    Args:
        root: the root of the clone.
    """

    def git(*args: str) -> str:
        # Otherwise git would search the parents of `root`.
        here = os.environ | {"GIT_CEILING_DIRECTORIES": str(root.parent)}
        command = ["git", "-C", str(root), *args]
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=True, timeout=SECONDS)
        return done.stdout.strip()

    if not (root / ".git").exists():  # a file in a worktree
        return None
    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError) as error:
        message = getattr(error, "stderr", None) or str(error)
        logger.warning("git: %s; the commit is not recorded", message.strip().splitlines()[0])
        return None
