"""The `remdm` command: a sub-command for each mode, a flag for each configuration key."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from remdm.base.errors import ConfigError, Interrupted, UserError, near, printable, problem_of
from remdm.base.files import is_utf8
from remdm.commands.accept import run_accept
from remdm.commands.clean import run_clean
from remdm.commands.compare import run_compare
from remdm.commands.configuration import fetched_checkpoint, plan_of
from remdm.commands.flags import add_flags
from remdm.commands.other_names import table, translated
from remdm.commands.params import run_params
from remdm.commands.publish import run_publish
from remdm.commands.results import run_results
from remdm.commands.stage import run_stage
from remdm.commands.status import run_status
from remdm.commands.suite import run_ablations
from remdm.commands.view import run_view
from remdm.config.layers import ALL_KEYS
from remdm.config.reference import all_keys, json_schema, reference_page
from remdm.config.references import is_reference
from remdm.config.stages import STAGES
from remdm.workflow.provenance import chain
from remdm.workflow.why import explain

logger = logging.getLogger("remdm")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 2 for errors that the user can fix."""
    return run(_parser(), sys.argv[1:] if argv is None else argv, translated)


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    translate: Callable[[Sequence[str]], Sequence[str]] = list,
) -> int:
    """Run the function that the parsed arguments name; errors that the user can fix are printed as one line.

    Args:
        translate: replaces aliases of flags by the names that the parser accepts.
    """
    try:
        for argument in argv:
            if not is_utf8(argument):  # otherwise, writing results would fail hours later
                raise ConfigError(f"{argument}: is not UTF-8")
        parsed = parser.parse_args(translate([_underscored(argument) for argument in argv]))
        parsed.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe; Python would flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (UserError, OSError) as error:
        if (problem := problem_of(error)) is None:
            raise
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        return interrupted.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


class Parser(argparse.ArgumentParser):
    """Reports a wrong flag like any other wrong input: one line, with similar names."""

    def error(self, message: str) -> Any:
        """Raise an error that names the wrong flag."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            flag = unknown.split()[0].partition("=")[0]
            message = f"unknown flag {flag}{near(flag, (f'--{key}' for key in ALL_KEYS))}"
            if flag.removeprefix("--") in ALL_KEYS:
                message = f"{flag}: has no effect in this mode"
        raise ConfigError(message)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="remdm",
        description="Discrete-diffusion planners in Craftax.",
        epilog="\n".join(table()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    modes = parser.add_subparsers(dest="mode", metavar="MODE", required=True)

    def add(mode: str, summary: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        description = f"{summary[0].upper()}{summary[1:]}."
        sub = modes.add_parser(mode, help=summary, description=description, allow_abbrev=False)
        sub.set_defaults(run=run)
        return sub

    for mode, stage in STAGES.items():
        _add_stage_flags(mode, add(mode, stage.summary, run_ablations if mode == "ablations" else run_stage))
    _add_policy_commands(add)
    _add_pipeline_commands(add)
    return parser


def _add_policy_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the modes that work on policies, recordings and runs in any folder."""
    show = add("show", "describe a checkpoint", _show)
    show.add_argument("path", metavar="PATH", help="folder of a checkpoint, or a wandb: or hf: reference")
    show.add_argument("--wandb_download_dir", metavar="DIR", help="for artifacts of W&B, default ./artifacts")
    params = add("params", "print how many parameters the networks of presets have", run_params)
    params.add_argument("presets", metavar="PRESET", nargs="+", help="of configs/, or a path to a YAML file")
    view = add("view", "draw a film, or two of the same world, as a page to step through", run_view)
    view.add_argument("films", metavar="FILM", type=Path, nargs="+", help="the folder of a film's results")
    view.add_argument("--output", metavar="PAGE", type=Path, help="default: episode.html of the first FILM")
    publishing = add("publish", "share trained policies, on the Hugging Face Hub or as folders", run_publish)
    publishing.add_argument("results", metavar="RESULT", type=Path, nargs="+", help="folder of a training")
    publishing.add_argument("--repo", metavar="OWNER/NAME", help="repository of the Hub, created if missing")
    publishing.add_argument("--output", metavar="DIR", type=Path, help="write a folder for each result there")
    publishing.add_argument("--dry_run", action="store_true", help="only print the files and the model card")
    publishing.add_argument("--private", action="store_true", help="make a new repository private")
    publishing.add_argument("--minimal", action="store_true", help="without picture and checkpoint_best")
    comparing = add("compare", "draw metrics and evaluations of any runs as a page to explore", run_compare)
    comparing.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="the folder of a run's results")
    comparing.add_argument(
        "--output", metavar="PAGE", type=Path, default="comparison.html", help="default: %(default)s"
    )


def _add_pipeline_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the modes that work on the pipeline's results and its configuration."""
    why = add("why", "explain why the pipeline would make a result again", _why)
    why.add_argument("target", metavar="TARGET", help="a file or folder under results/")
    accepting = add("accept", "let results that are stale only by their code count as current", run_accept)
    accepting.add_argument(
        "targets", metavar="TARGET", nargs="*", help="files or folders under results/, by default all"
    )
    accepting.add_argument("--yes", action="store_true", help="record it; without, only list the results")
    status = add("status", "list the jobs of a scale: done, waiting, stopped, running, failed", run_status)
    status.add_argument("--report", metavar="PAGE", type=Path, help="also write a report on all jobs")
    for sub in (why, accepting, status):
        sub.add_argument("--scale", metavar="NAME", help="a scale, by default that of workflow_config.yaml")
    provenance = add("provenance", "show what a figure, a table or a run was made from", _provenance)
    provenance.add_argument("target", metavar="FIGURE", help="a file of results, moved or not")
    resulting = add("results", "print returns, shares and differences of scales, in Markdown", run_results)
    resulting.add_argument("scales", metavar="SCALE", nargs="*", help="default: that of workflow_config.yaml")
    cleaning = add("clean", "list states, logs and caches with size and age, or remove some", run_clean)
    cleaning.add_argument("paths", metavar="PATH", nargs="*", help="listed paths to remove")
    reference = add("keys", "print the reference of all keys, in Markdown", _keys)
    reference.add_argument("--schema", action="store_true", help="as a JSON schema instead")


def _add_stage_flags(mode: str, sub: argparse.ArgumentParser) -> None:
    """Add the flags of a stage: its keys, a preset and the folder of the results."""
    sub.usage = f"remdm {mode} [--config PRESET] [--output DIR] [--KEY VALUE ...]"
    if mode == "ablations":
        _add_suite_flags(sub)
    sub.add_argument("--config", metavar="PRESET", help="a preset of configs/, or a path to a YAML file")
    sub.add_argument("--output", metavar="DIR", type=Path, help="folder of the results")
    add_flags(sub, [key for key in all_keys().values() if mode in key.modes])


def _add_suite_flags(sub: argparse.ArgumentParser) -> None:
    """Add the flags that the ablation suite has in addition to keys."""
    sub.usage = "remdm ablations [--arm NAME | --arms ... | --group LETTER] [--KEY X ...]"
    sub.add_argument("--list", action="store_true", help="list the arms and what they test")
    sub.add_argument("--arms", metavar="NAME", nargs="+", help="run only these arms")
    sub.add_argument("--group", metavar="LETTER", help="run only the arms of a group")
    sub.add_argument("--num_seeds", metavar="N", help="run each arm with N seeds, starting at --seed")
    sub.add_argument("--fast", action="store_true", help="the preset ablations_fast")
    sub.add_argument("--analyze_only", action="store_true", help="only write the report on finished runs")


def _show(arguments: argparse.Namespace) -> None:
    from remdm.loading.public import summary

    path = arguments.path
    if is_reference(path):
        path = fetched_checkpoint(path, arguments.wandb_download_dir)
    fields = summary(Path(path))
    for name, text in fields.items():
        print(printable(f"{name:<{max(map(len, fields))}}  {text}"))


def _why(arguments: argparse.Namespace) -> None:
    print(*map(printable, explain(plan_of(arguments.scale), arguments.target)), sep="\n")


def _provenance(arguments: argparse.Namespace) -> None:
    print(*map(printable, chain(arguments.target)), sep="\n")


def _keys(arguments: argparse.Namespace) -> None:
    if arguments.schema:
        print(json.dumps(json_schema(), indent=2))
    else:
        print(reference_page(), end="")


def _underscored(argument: str) -> str:
    """`--plan-horizon=8` as `--plan_horizon=8`; values are not changed."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


if __name__ == "__main__":
    sys.exit(main())
