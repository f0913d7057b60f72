"""The clone of the repository that this code is in."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The commit of the source, with `+` if files differ from it; None outside a clone."""
    folder = Path(__file__).parent

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *args], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
