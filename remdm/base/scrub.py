"""Removes private data before publication: credentials, e-mail addresses, names of hosts and paths."""

import platform
import re
from typing import Any

HIDDEN = "***"
_PRIVATE = [
    r"\b(?:hf_|api_org_|wandb_v\d+_)\w{8,}",  # tokens of the Hub, newer keys of W&B
    r"\b[0-9a-f]{40}\b",  # older keys of W&B
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"(?<![\w.])(?:~|\.\.)?(?:/[^\s/:;,\"'=]+)+/?",  # paths from the root, from home, or out of the folder
    r"\b(?:[a-z][\w-]*\.){2,}[a-z]{2,}\b|\b[\w-]+\.(?:local|lan|internal|localdomain)\b",
]


def scrubbed(data: Any, key: str = "") -> Any:
    """JSON data with private parts of its texts replaced.

    Commits are kept, although they look like keys of W&B, and so are paths below the working folder.

    Args:
        key: the key whose value the data are.
    """
    if isinstance(data, dict):
        return {name: scrubbed(value, name) for name, value in data.items()}
    if isinstance(data, list):
        return [scrubbed(value, key) for value in data]
    if not isinstance(data, str) or key == "git_commit":
        return data
    hidden = _pattern().sub(HIDDEN, data)
    return HIDDEN if key.endswith(("_path", "_dir")) and hidden != data else hidden


def _pattern() -> re.Pattern[str]:
    host = platform.node()
    own = [rf"\b{re.escape(name)}\b" for name in (host, host.partition(".")[0]) if name]
    return re.compile("|".join([*own, *_PRIVATE]))
