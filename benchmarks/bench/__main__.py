"""`python -m benchmarks.bench`: its flags, and what they ask for."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench.catalogue import CASES, GROWTH, PRESET, Request, checked, growing
from benchmarks.bench.command import measure_all, trace_all
from benchmarks.bench.table import comparison
from remdm.base.errors import ConfigError
from remdm.base.reader import parse_value
from remdm.cli import Parser, run
from remdm.commands.flags import add_flags
from remdm.config.layers import ALL_KEYS, Layer
from remdm.config.reference import all_keys

# Flags of `python -m benchmarks.bench`, what they do, and the flags that therefore have no place beside them.
NOT_WITH = {
    "compare": ("measures nothing", ("cases", "growth", "trace", "output")),
    "growth": ("has cases of its own", ("cases", "trace")),
    "trace": ("adds to no results", ("output",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 2 for what the user can put right."""
    return run(_parser(), sys.argv[1:] if argv is None else argv)


def _parser() -> Parser:
    sub = Parser(
        prog="bench", description="Measure how fast this machine runs the project.", allow_abbrev=False
    )
    sub.usage = (
        "python -m benchmarks.bench [CASE ...] [--repeats N] [--trace DIR] [--KEY VALUE ...]\n"
        "       python -m benchmarks.bench --growth [--KEY VALUE ...]\n"
        "       python -m benchmarks.bench --compare BEFORE AFTER"
    )
    cases = "; ".join(f"{name}: {entry.summary}" for name, entry in CASES.items())
    sub.add_argument("cases", metavar="CASE", nargs="*", help=f"all if none is named. {cases}")
    sub.add_argument("--repeats", metavar="N", type=int, default=5, help="timed calls of a case (5)")
    sub.add_argument("--growth", action="store_true", help="how the cost grows with sizes")
    sub.add_argument("--trace", metavar="DIR", help="profile the cases, and say where their time goes")
    sub.add_argument(
        "--compare", metavar=("BEFORE", "AFTER"), nargs=2, type=Path, help="ratios of two files of results"
    )
    sub.add_argument(
        "--config", metavar="PRESET", default=PRESET, help="a preset of configs/, or a path to a YAML file"
    )
    sub.add_argument("--output", metavar="FILE", type=Path, help="the parquet file that results are added to")
    allowed = set().union(*(entry.keys() for entry in CASES.values()))
    add_flags(sub, [key for key in all_keys().values() if key.name in allowed])
    sub.set_defaults(run=_run)
    return sub


def _run(arguments: argparse.Namespace) -> None:
    """Measure, compare, profile, or show how costs grow.

    Raises:
        ConfigError: flags that contradict each other.
    """
    given = {key: text for key in ALL_KEYS if (text := getattr(arguments, key, None)) is not None}
    keys = Layer("command line", {key: parse_value(text) for key, text in given.items()})
    for flag, (reason, others) in NOT_WITH.items():
        unfit = [other for other in others if getattr(arguments, flag) and getattr(arguments, other)]
        if unfit:
            name = "CASE" if unfit[0] == "cases" else f"--{unfit[0]}"
            raise ConfigError(f"--{flag}: {reason}; drop {name}")
    if arguments.compare is not None:
        keys.checked(())
        print(comparison(*arguments.compare))
        return
    if arguments.repeats < 1:
        raise ConfigError(f"--repeats {arguments.repeats}: at least 1")
    if arguments.trace is not None and not arguments.cases:
        raise ConfigError("--trace: name the cases to profile")
    cases = checked(arguments.cases)
    if arguments.growth:
        cases = [case for growth in GROWTH.values() for case in growth.cases]
    keys.checked(set().union(*(CASES[case].keys() for case in cases)))
    usual = Request("", arguments.config, dict(keys.values), arguments.repeats, trace=arguments.trace)
    requests = growing(usual) if arguments.growth else [usual._replace(case=case) for case in cases]
    if arguments.trace is not None:
        trace_all(requests)
        return
    path = measure_all(requests, arguments.output)
    if arguments.growth:
        from benchmarks.bench.growth import draw_growth

        draw_growth(path, path.with_suffix(".png"))
        print(f"figure in {path.with_suffix('.png')}")


if __name__ == "__main__":
    sys.exit(main())
