"""Does the fast tier catch deliberate faults? Each is put into a copy of the sources and tested there.

    uv run python -m tests.mutations [NAME ...]

The tests that a fault names run first, and the whole fast tier only where they miss it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults.yaml")
CACHE = ".tests-cache"  # compiled programs are found by what they are, so all copies share them
CAUGHT = re.compile(r"^(?:FAILED|ERROR) ([^\s@]+)", re.M)
NOTHING_FAILED, TESTS_FAILED, STOPPED, NOTHING_COLLECTED = 0, 1, 2, 5


@dataclass(frozen=True)
class Fault:
    """One replacement in the source.

    Attributes:
        fault: what is wrong then, in words.
        old: what `new` replaces; it stands exactly once in `file`.
        tests: files, separated by spaces, that should catch it.
    """

    name: str
    fault: str
    file: str
    old: str
    new: str
    tests: str

    def apply(self, root: Path) -> None:
        """Replace it in a copy of the repository.

        Raises:
            ValueError: the place is not there, or there are several.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {self.file} holds {self.old!r} {count} times, not once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def load_faults() -> list[Fault]:
    """All faults, in the order of the file."""
    return [Fault(**entry) for entry in yaml.safe_load(FAULTS.read_text(encoding="utf-8"))]


def copy_sources(target: Path) -> None:
    """A clone with the working tree's own files in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, copy = REPOSITORY / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
            copy.chmod(source.stat().st_mode)
    (REPOSITORY / CACHE).mkdir(exist_ok=True)
    (target / CACHE).symlink_to(REPOSITORY / CACHE)


def catching_test(root: Path, *arguments: str) -> str | None:
    """The first test that fails in a copy, of the fast tier.

    Raises:
        RuntimeError: pytest could not run.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *arguments],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode in (NOTHING_FAILED, NOTHING_COLLECTED):
        return None
    found = CAUGHT.search(done.stdout)
    if done.returncode not in (TESTS_FAILED, STOPPED) or found is None:
        raise RuntimeError(f"pytest ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return found[1]


def examine(fault: Fault) -> str | None:
    """The test that catches a fault; None if the fast tier misses it."""
    with tempfile.TemporaryDirectory(prefix="remdm-fault-") as folder:
        root = Path(folder)
        copy_sources(root)
        fault.apply(root)
        return catching_test(root, "-n", "0", *fault.tests.split()) or catching_test(root)


def main() -> int:
    """Examine the faults named, or all; returns 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help="faults; all if none is named")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time; all cores")
    arguments = parser.parse_args()
    faults = {fault.name: fault for fault in load_faults()}
    if unknown := set(arguments.names) - set(faults):
        parser.error(f"no fault is called {', '.join(sorted(unknown))}")
    names = arguments.names or list(faults)
    os.environ["NPROC"] = "1"  # of XLA's threads: each of those examined has a core
    missed = 0
    with ThreadPoolExecutor(arguments.jobs) as threads:
        for name, caught in zip(names, threads.map(lambda name: examine(faults[name]), names), strict=True):
            missed += caught is None
            print(f"| {name} | {faults[name].fault} | {caught or '**missed**'} |", flush=True)
    print(f"{missed} of {len(names)} faults missed")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
