"""Run the arms of the ablation suite, and report on them."""

import argparse
import logging
import sys
from collections.abc import Sequence

from remdm.base.errors import ConfigError, Interrupted, UserError
from remdm.base.log import configure_logging
from remdm.commands.configuration import call_of, configured, default_folder, origin_of
from remdm.commands.stage import is_done, run_stage
from remdm.config.arms import ARMS, GROUPS
from remdm.config.stage import StageConfig

logger = logging.getLogger("remdm")


def run_ablations(arguments: argparse.Namespace) -> None:
    """Run the arms asked for, one after another; one that fails does not stop the rest.

    Raises:
        UserError: a mistake that all arms share, or those that failed.
    """
    if arguments.list:
        print(_list_of_arms(), end="")
        return
    if arguments.fast and arguments.config:
        raise ConfigError(f"--fast: is --config ablations_fast, but --config {arguments.config} is given")
    arguments.config = arguments.config or ("ablations_fast" if arguments.fast else None)
    names = _chosen_arms(arguments)
    if len(names) == 1:
        arguments.arm = names[0]
        return run_stage(arguments)

    config, _, _ = configured(call_of(arguments))
    origin_of("ablations", config)  # a missing checkpoint is one line, not one an arm
    configure_logging()
    failed: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        own = argparse.Namespace(**vars(arguments) | {"arm": name, "seed": str(config.seed)})
        if arguments.output is not None:
            own.output = arguments.output / name / f"s{config.seed}"
        logger.info("ablations: arm %d of %d, %s", number, len(names), name)
        try:
            if is_done(own):
                logger.info("%s: done already", name)
            else:
                run_stage(own)
        except Interrupted:
            raise
        except UserError as error:
            logger.error("%s: error: %s", name, error)
            failed[name] = 2
        except Exception:
            logger.exception("%s failed", name)
            failed[name] = 1
    if failed:
        logger.error("error: of %d arms, %d failed: %s", len(names), len(failed), ", ".join(failed))
    _report_ablations(arguments, config, names)
    if failed:
        sys.exit(min(failed.values()))


def _report_ablations(arguments: argparse.Namespace, config: StageConfig, names: Sequence[str]) -> None:
    """Write the suite's report on the arms asked for, and on those and the seeds that are there already."""
    from remdm.analysis.ablations.report import write_ablations

    folder = arguments.output or default_folder("ablations", config, arguments.config).parents[1]
    asked = [folder / name / f"s{config.seed}" for name in names]
    present = [record.parent for record in sorted(folder.glob("*/s*/run.json"))]
    if present:
        write_ablations([str(run) for run in dict.fromkeys([*asked, *present])], folder)
        logger.info("report in %s", folder / "report.md")


def _chosen_arms(arguments: argparse.Namespace) -> list[str]:
    """The arms that the flags ask for.

    Raises:
        ConfigError: flags that contradict each other, or no group of that name.
    """
    if arguments.group is None:
        return [arguments.arm] if arguments.arm is not None else [entry.name for entry in ARMS]
    if arguments.arm is not None:
        raise ConfigError(f"--group {arguments.group}: --arm {arguments.arm} already names the arm; drop one")
    if arguments.group not in GROUPS:
        raise ConfigError(f"--group {arguments.group}: not among {', '.join(GROUPS)}")
    return [entry.name for entry in ARMS if entry.group == arguments.group]


def _list_of_arms() -> str:
    width = max(len(entry.name) for entry in ARMS)
    lines = [f"{entry.group}  {entry.name:<{width}}  tests whether {entry.tests}" for entry in ARMS]
    groups = [f"{letter}: {title}" for letter, title in GROUPS.items()]
    return "\n".join([*lines, "", *groups]) + "\n"
