"""Run the arms of the ablation suite, and report on them."""

import argparse
import logging
import sys
from collections.abc import Sequence

from remdm.base.errors import ConfigError, Interrupted, UserError, near
from remdm.base.log import configure_logging
from remdm.commands.configuration import call_of, configured, default_folder, origin_of
from remdm.commands.stage import is_done, run_stage
from remdm.config.arms import ARM_NAMES, ARMS, GROUPS
from remdm.config.stage import StageConfig

logger = logging.getLogger("remdm")

MOST_SEEDS = 1000


def run_ablations(arguments: argparse.Namespace) -> None:
    """Run the arms asked for, one after another; an arm that fails does not stop the others.

    Raises:
        UserError: a mistake that all arms share.
    """
    if arguments.list:
        print(_list_of_arms(), end="")
        return
    if arguments.fast and arguments.config:
        raise ConfigError(f"--fast: is --config ablations_fast, but --config {arguments.config} is given")
    arguments.config = arguments.config or ("ablations_fast" if arguments.fast else None)
    names, count = _chosen_arms(arguments), _count(arguments.num_seeds)
    if len(names) == count == 1 and not (arguments.arms or arguments.analyze_only):
        arguments.arm = names[0]
        return run_stage(arguments)

    config, _, _ = configured(call_of(arguments))
    configure_logging()
    runs = [(name, seed) for seed in range(config.seed, config.seed + count) for name in names]
    failed = {} if arguments.analyze_only else _train_all(arguments, config, runs)
    _report_ablations(arguments, config, runs)
    if failed:
        sys.exit(min(failed.values()))


def _train_all(
    arguments: argparse.Namespace, config: StageConfig, runs: Sequence[tuple[str, int]]
) -> dict[str, int]:
    """Train arms with seeds, except finished ones; returns the exit status of each that failed."""
    origin_of("ablations", config)  # report a missing checkpoint once, not for each arm
    failed: dict[str, int] = {}
    for number, (name, seed) in enumerate(runs, start=1):
        own = argparse.Namespace(**vars(arguments) | {"arm": name, "seed": str(seed)})
        if arguments.output is not None:
            own.output = arguments.output / name / f"s{seed}"
        label = name if seed == runs[-1][1] == runs[0][1] else f"{name} with seed {seed}"
        logger.info("ablations: arm %d of %d, %s", number, len(runs), label)
        try:
            if is_done(own):
                logger.info("%s: done already", label)
            else:
                run_stage(own)
        except Interrupted:
            raise
        except UserError as error:
            logger.error("%s: error: %s", label, error)
            failed[label] = 2
        except Exception:
            logger.exception("%s failed", label)
            failed[label] = 1
    if failed:
        logger.error("error: of %d arms, %d failed: %s", len(runs), len(failed), ", ".join(failed))
    return failed


def _report_ablations(
    arguments: argparse.Namespace, config: StageConfig, runs: Sequence[tuple[str, int]]
) -> None:
    """Write the suite's report on the arms asked for and on all other finished runs."""
    from remdm.analysis.ablations.report import write_ablations

    folder = arguments.output or default_folder("ablations", config, arguments.config).parents[1]
    asked = [folder / name / f"s{seed}" for name, seed in runs] if not arguments.analyze_only else []
    present = [record.parent for record in sorted(folder.glob("*/s*/run.json"))]
    if arguments.analyze_only and not present:
        raise UserError(f"--analyze_only: {folder} has no finished run of an arm")
    if present:
        write_ablations([str(run) for run in dict.fromkeys([*asked, *present])], folder)
        logger.info("report in %s", folder / "report.md")


def _chosen_arms(arguments: argparse.Namespace) -> list[str]:
    """The arms that the flags ask for.

    Raises:
        ConfigError: flags contradict each other, or there is no arm or group of that name.
    """
    if arguments.arm is not None and (arguments.group or arguments.arms):
        other = f"--group {arguments.group}" if arguments.group else f"--arms {' '.join(arguments.arms)}"
        raise ConfigError(f"{other}: --arm {arguments.arm} already names the arm; drop one")
    if arguments.arms is not None:
        if arguments.group is not None:
            raise ConfigError(f"--group {arguments.group}: --arms already names the arms; drop one")
        for name in arguments.arms:
            if name not in ARM_NAMES:
                raise ConfigError(f"--arms {name}: no arm of that name{near(name, ARM_NAMES)}")
        return list(dict.fromkeys(arguments.arms))
    if arguments.group is None:
        return [*ARM_NAMES] if arguments.arm is None else [arguments.arm]
    if arguments.group not in GROUPS:
        raise ConfigError(f"--group {arguments.group}: not among {', '.join(GROUPS)}")
    return [entry.name for entry in ARMS if entry.group == arguments.group]


def _count(text: str | None) -> int:
    """The number of seeds asked for; any other text is refused."""
    if text is None:
        return 1
    if not (text.isdecimal() and 0 < int(text) <= MOST_SEEDS):
        raise ConfigError(f"--num_seeds {text}: must be a number from 1 to {MOST_SEEDS}")
    return int(text)


def _list_of_arms() -> str:
    width = max(map(len, ARM_NAMES))
    lines = [f"{entry.group}  {entry.name:<{width}}  tests whether {entry.tests}" for entry in ARMS]
    groups = [f"{letter}: {title}" for letter, title in GROUPS.items()]
    return "\n".join([*lines, "", *groups]) + "\n"
