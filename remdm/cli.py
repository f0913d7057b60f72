"""The `remdm` command: one sub-command a mode, every configuration key a flag."""

import argparse
import importlib
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remdm.config.base import ConfigError, StageConfig, UserError
from remdm.config.layers import ALL_KEYS, STAGES, Layer, base_layers, build, near
from remdm.config.reader import parse_value
from remdm.config.runtime import RuntimeConfig
from remdm.workflow.digest import content_digest, stage_digest

logger = logging.getLogger("remdm")

SUMMARIES = {
    "ppo": "train the expert",
    "collect": "save expert trajectories to disk",
    "offline": "train a planner by behaviour cloning of an expert",
    "online": "train a planner by DAgger with an expert",
    "inference": "evaluate a planner, an expert or random play",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 2 for what the user can put right."""
    arguments = [_underscored(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    try:
        _run(_parser().parse_args(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """Reports a wrong flag as every other wrong input: one line, with the names that are near."""

    def error(self, message: str) -> Any:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            flag = unknown.split()[0]
            message = f"unknown flag {flag}{near(flag, (f'--{key}' for key in ALL_KEYS))}"
        raise ConfigError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="remdm", description="Discrete-diffusion planners in Craftax.", allow_abbrev=False)
    modes = parser.add_subparsers(dest="mode", metavar="MODE", required=True)
    for mode, model in STAGES.items():
        sub = modes.add_parser(
            mode,
            help=SUMMARIES[mode],
            description=f"{SUMMARIES[mode].capitalize()}. Defaults are those of configs/defaults.yaml.",
            allow_abbrev=False,
        )
        sub.add_argument("--config", metavar="PRESET", help="a preset of configs/, or a path to a YAML file")
        sub.add_argument("--output", metavar="DIR", type=Path, help="where the results go")
        for title, section in ((f"keys of {mode}", model), ("how the run is watched", RuntimeConfig)):
            group = sub.add_argument_group(title)
            for key, field in section.model_fields.items():
                # A bare flag is `true`; values are read as the files' values are.
                group.add_argument(
                    f"--{key}", metavar="X", nargs="?", const="true", default=None,
                    help=(field.description or "").replace("%", "%%"),
                )  # fmt: skip
    return parser


def _run(arguments: argparse.Namespace) -> None:
    started = time.perf_counter()
    mode, model = arguments.mode, STAGES[arguments.mode]
    keys = [*model.model_fields, *RuntimeConfig.model_fields]
    given = {key: parse_value(text) for key in keys if (text := getattr(arguments, key)) is not None}
    layers = [*base_layers(arguments.config), Layer("command line", given)]
    config, runtime = build(model, layers), build(RuntimeConfig, layers)

    inputs = [content_digest(key, path) for key, path in config.inputs().items()]
    digest = stage_digest(mode, config, inputs)
    folder = arguments.output or _default_folder(mode, config, arguments.config)
    _refuse_another_run(folder, digest)

    # Only now what imports JAX: a mistake is reported at once.
    from remdm.stages.session import configure_logging, prepare_jax
    from remdm.training.run import Run

    configure_logging()
    prepare_jax(runtime)
    logger.info("%s: seed %d", mode, config.seed)
    run_stage = getattr(importlib.import_module(f"remdm.stages.{mode}"), f"run_{mode}")
    run_stage(config, Run(mode, folder, Path("state") / digest, digest, runtime, started))
    _draw(mode, folder)
    logger.info("results in %s", folder)


def _default_folder(mode: str, config: StageConfig, preset: str | None) -> Path:
    """The pipeline's layout in a folder of its own, `runs/<env>/<stage>/<name>/s<seed>`."""
    keys = config.model_dump()
    name = Path(preset).stem if preset else "defaults"
    name = {"ppo": keys.get("ppo_model_type"), "inference": keys.get("policy")}.get(mode) or name
    return Path("runs") / keys["env_name"] / mode / name / f"s{config.seed}"


def _refuse_another_run(folder: Path, digest: str) -> None:
    """Let the same command repeat itself, but never overwrite another's results."""
    record = folder / "run.json"
    if record.exists() and json.loads(record.read_text()).get("digest") != digest:
        raise UserError(f"{folder}: holds the results of another run; name another folder with --output")


def _draw(mode: str, folder: Path) -> None:
    """The figure that the pipeline's rules draw of a run."""
    if mode == "inference":
        from remdm.analysis.achievements import draw_achievements

        draw_achievements([str(folder / "summary.json")], folder / "achievements.png")
    else:
        from remdm.analysis.curves import draw_curves

        draw_curves(folder, folder / "curves.png")


def _underscored(argument: str) -> str:
    """`--plan-horizon=8` as `--plan_horizon=8`; values stay as they are."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


if __name__ == "__main__":
    sys.exit(main())
