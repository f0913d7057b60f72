"""What control groups leave this process of the machine's memory: those of containers, Slurm or systemd."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# The file of a group that has its limit, in either version.
V1, V2 = "memory.limit_in_bytes", "memory.max"


def memory_limits(proc: Path = Path("/proc/self")) -> Iterator[int]:
    """Limits in bytes of this process's group and of those around it, as far as they are visible.

    The least of them counts. There are none where the system has no groups.

    Args:
        proc: where Linux describes the process.
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
    """Where a hierarchy of groups is mounted, and which of its groups is to be seen there."""
    for mount in mounts:  # "35 31 0:32 /root /point rw - cgroup source rw,memory"
        place, _, source = mount.partition(" - ")
        kind, *_, options = source.split(" ")
        if kind == ("cgroup" if controllers else "cgroup2") and (
            not controllers or "memory" in options.split(",")
        ):
            root, point = (_unescaped(part) for part in place.split(" ")[3:5])
            yield Path(point), root


def _upwards(point: Path, root: str, path: str) -> Iterator[Path]:
    """The folders of a group and those around it that are visible at a mount point."""
    group = PurePosixPath(path)
    is_seen = group.is_relative_to(root) and ".." not in group.parts  # else it is outside of the namespace
    within = group.relative_to(root) if is_seen else PurePosixPath()
    yield from (point / folder for folder in (within, *within.parents))


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit():  # and not `max`
        yield int(text)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _unescaped(text: str) -> str:
    """A path of `mountinfo`, in which a space and the like are octal numbers."""
    return re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), text)
