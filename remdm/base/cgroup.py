"""Memory limits of this process by control groups: those of containers, Slurm or systemd."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# The file that contains a group's limit, in versions 1 and 2.
V1, V2 = "memory.limit_in_bytes", "memory.max"


def memory_limits(proc: Path = Path("/proc/self")) -> Iterator[int]:
    """Limits in bytes of this process's group and its parents, as far as they are visible.

    The smallest of them applies. On systems without control groups there are none.

    Args:
        proc: the folder in which Linux describes the process.
    """
    try:
        groups, mounts = (_lines(proc / name) for name in ("cgroup", "mountinfo"))
    except OSError:
        return
    for group in groups:  # "4:memory:/path", or "0::/path" in version 2
        _, controllers, path = group.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            for point, root in _mounts(mounts, controllers):
                for folder in _upwards(point, root, path):
                    yield from _limit(folder / (V1 if controllers else V2))


def _mounts(mounts: list[str], controllers: str) -> Iterator[tuple[Path, str]]:
    """The mount points of a hierarchy of groups, and the group that is visible at each."""
    for mount in mounts:  # "35 31 0:32 /root /point rw - cgroup source rw,memory"
        place, _, source = mount.partition(" - ")
        kind, *_, options = source.split(" ")
        if kind == ("cgroup" if controllers else "cgroup2") and (
            not controllers or "memory" in options.split(",")
        ):
            root, point = (_unescaped(part) for part in place.split(" ")[3:5])
            yield Path(point), root


def _upwards(point: Path, root: str, path: str) -> Iterator[Path]:
    """The folders of a group and its parents that are visible at a mount point."""
    group = PurePosixPath(path)
    is_seen = group.is_relative_to(root) and ".." not in group.parts  # otherwise it is outside the namespace
    within = group.relative_to(root) if is_seen else PurePosixPath()
    yield from (point / folder for folder in (within, *within.parents))


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit():  # otherwise `max`
        yield int(text)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _unescaped(text: str) -> str:
    """A path of `mountinfo`, in which characters such as spaces are octal codes."""
    return re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), text)
