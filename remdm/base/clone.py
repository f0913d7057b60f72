"""The clone of the repository that this code is in."""

import logging
import os
import subprocess
from pathlib import Path

logger = logging.getLogger("remdm")

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0  # for an answer of git, which a file system can keep from giving one


def git_commit(root: Path = ROOT) -> str | None:
    """The commit of the source, with `+` if files differ from it.

    None outside a clone, as in an environment that lies in another repository; and, with a warning, where git
    does not answer, as it does not in a clone of another user.

    Args:
        root: the folder that the clone would be.
    """

    def git(*args: str) -> str:
        here = os.environ | {"GIT_CEILING_DIRECTORIES": str(root.parent)}  # else it looks further up
        command = ["git", "-C", str(root), *args]
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=True, timeout=SECONDS)
        return done.stdout.strip()

    if not (root / ".git").exists():  # a file in a worktree
        return None
    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        logger.warning("git: %s; the commit is not recorded", said.strip().splitlines()[0])
        return None
