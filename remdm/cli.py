"""The `remdm` command: one sub-command a mode, every configuration key a flag."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from remdm.base.errors import ConfigError, UserError, near
from remdm.base.files import disk_problem
from remdm.base.reader import parse_value
from remdm.bench.catalogue import CASES, GROWTH, PRESET, Request, checked, growing
from remdm.bench.command import measure_all, trace_all
from remdm.bench.table import comparison
from remdm.config.arms import ARMS, GROUPS
from remdm.config.base import StageConfig
from remdm.config.layers import (
    ALL_KEYS,
    STAGES,
    Layer,
    base_layers,
    build,
    overridden,
    runtime_model,
    without_effect,
)
from remdm.config.policy import PlayingConfig
from remdm.config.reference import Key, all_keys, help_text, json_schema, reference_page
from remdm.config.runtime import RuntimeConfig
from remdm.training.interruption import Interrupted
from remdm.training.tracking import fetch, is_reference
from remdm.workflow.digest import Origin, content_digest, stage_origin
from remdm.workflow.plan import Plan
from remdm.workflow.provenance import chain
from remdm.workflow.record import recorded_digest
from remdm.workflow.why import explain

logger = logging.getLogger("remdm")

SUMMARIES = {
    "ppo": "train the expert",
    "collect": "save expert trajectories to disk",
    "offline": "train a planner by behaviour cloning of an expert",
    "online": "train a planner by DAgger with an expert",
    "inference": "evaluate a planner, an expert or random play",
    "sweep": "compare sampler settings of a planner, on what its expert does",
    "film": "film an episode of a planner, an expert or random play",
    "ablations": "study why fine-tuning a planner by reward collapses: one arm, a group, or all",
    "smoke": "run all of DAgger at its smallest, with an expert that plays at random",
}


# Flags of `remdm bench`, what they do, and the flags that therefore have no place beside them.
NOT_WITH = {
    "compare": ("measures nothing", ("cases", "growth", "trace", "output")),
    "growth": ("has cases of its own", ("cases", "trace")),
    "trace": ("adds to no results", ("output",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 2 for what the user can put right."""
    arguments = [_underscored(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    try:
        parsed = _parser().parse_args(arguments)
        parsed.run(parsed)
    except UserError as error:
        return _complain(str(error))
    except OSError as error:
        if (problem := disk_problem(error)) is None:
            raise
        return _complain(problem)
    except Interrupted as interrupted:
        return interrupted.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _complain(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Reports a wrong flag as every other wrong input: one line, with the names that are near."""

    def error(self, message: str) -> Any:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            flag = unknown.split()[0].partition("=")[0]
            message = f"unknown flag {flag}{near(flag, (f'--{key}' for key in ALL_KEYS))}"
            if flag.removeprefix("--") in ALL_KEYS:
                message = f"{flag}: has no effect in this mode"
        raise ConfigError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="remdm", description="Discrete-diffusion planners in Craftax.", allow_abbrev=False)
    modes = parser.add_subparsers(dest="mode", metavar="MODE", required=True)

    def add(mode: str, summary: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        description = f"{summary[0].upper()}{summary[1:]}."
        sub = modes.add_parser(mode, help=summary, description=description, allow_abbrev=False)
        sub.set_defaults(run=run)
        return sub

    keys = all_keys().values()
    for mode in STAGES:
        sub = add(mode, SUMMARIES[mode], _run_ablations if mode == "ablations" else _run_stage)
        sub.usage = f"remdm {mode} [--config PRESET] [--output DIR] [--KEY VALUE ...]"
        if mode == "ablations":
            sub.usage = "remdm ablations [--arm NAME | --group LETTER] [--fast] [--KEY VALUE ...]"
            sub.add_argument("--list", action="store_true", help="name the arms and what they test")
            sub.add_argument("--group", metavar="LETTER", help="run the arms of a group, not all")
            sub.add_argument("--fast", action="store_true", help="the preset ablations_fast")
        sub.add_argument("--config", metavar="PRESET", help="a preset of configs/, or a path to a YAML file")
        sub.add_argument("--output", metavar="DIR", type=Path, help="where the results go")
        groups: dict[str, Any] = {}
        for key in keys:
            if mode in key.modes:
                if key.title not in groups:
                    groups[key.title] = sub.add_argument_group(key.title)
                _add_flag(groups[key.title], key)
    _add_bench(add("bench", "measure how fast this machine runs the project", _bench), keys)
    show = add("show", "say what a checkpoint is", _show)
    show.add_argument("path", metavar="PATH", help="folder of a checkpoint, or a wandb: reference")
    show.add_argument(
        "--wandb_download_dir", metavar="DIR", help="where artifacts go, ./artifacts by default"
    )
    why = add("why", "say why the pipeline would make a result again", _why)
    why.add_argument("target", metavar="TARGET", help="a file or folder under results/")
    why.add_argument("--scale", metavar="NAME", help="a scale of workflow_config.yaml, by default its own")
    provenance = add("provenance", "say what a figure, a table or a run was made from", _provenance)
    provenance.add_argument("target", metavar="FIGURE", help="a file of results, moved or not")
    reference = add("keys", "print the reference of all keys, in Markdown", _keys)
    reference.add_argument("--schema", action="store_true", help="as a JSON schema instead")
    return parser


def _add_bench(sub: argparse.ArgumentParser, keys: Iterable[Key]) -> None:
    sub.usage = (
        "remdm bench [CASE ...] [--repeats N] [--trace DIR] [--KEY VALUE ...]\n"
        "       remdm bench --growth [--KEY VALUE ...]\n"
        "       remdm bench --compare BEFORE AFTER"
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
    groups: dict[str, Any] = {}
    for key in keys:
        if key.name in allowed:
            if key.title not in groups:
                groups[key.title] = sub.add_argument_group(key.title)
            _add_flag(groups[key.title], key)


def _add_flag(group: Any, key: Key) -> None:
    """A flag whose value is read as the files' values are; of a switch, `--KEY` and `--no-KEY` too."""
    text = help_text(key).replace("%", "%%")
    if key.kind == "boolean":
        group.add_argument(f"--{key.name}", metavar="X", nargs="?", const="true", help=text)
        off = {"action": "store_const", "const": "false", "help": argparse.SUPPRESS}
        group.add_argument(f"--no_{key.name}", dest=key.name, **off)
    else:
        group.add_argument(f"--{key.name}", metavar="X", help=text)


def _run_stage(arguments: argparse.Namespace) -> None:
    started = time.perf_counter()
    mode, model = arguments.mode, STAGES[arguments.mode]
    config, runtime, notes = _configured(arguments)
    origin = _origin(mode, config)
    digest = origin.digest
    folder = arguments.output or _default_folder(mode, config, arguments.config)
    _refuse_another_run(folder, digest)

    # Only now what imports JAX: a mistake is reported at once.
    import jax

    from remdm.stages.session import configure_logging, prepare_jax, run_mode
    from remdm.training.run import Run

    configure_logging()
    runtime = prepare_jax(runtime)
    for note in notes:
        logger.warning(note)
    logger.info("%s: seed %d", mode, config.seed)
    with Run(mode, folder, Path("state") / digest, digest, runtime, origin.record(), started) as run:
        run_mode(mode, config, run)
    if jax.process_index() > 0:
        return  # the first of several processes has written the results
    _draw(model, folder)
    logger.info("results in %s", folder)


def _origin(mode: str, config: StageConfig) -> Origin:
    inputs = {key: content_digest(key, path) for key, path in config.inputs().items()}
    return stage_origin(mode, config, inputs)


def _run_ablations(arguments: argparse.Namespace) -> None:
    """Run the arms asked for, one after another; one that fails does not stop the rest.

    Raises:
        UserError: a mistake that all arms share, or those that failed.
    """
    if arguments.list:
        print(_list_of_arms(), end="")
        return
    if arguments.fast and arguments.config:
        raise ConfigError(f"--fast: is --config ablations_fast, but --config {arguments.config} is given")
    arguments.config = arguments.config or ("ablations_fast" if arguments.fast else "ablations_default")
    names = _chosen_arms(arguments)
    if len(names) == 1:
        arguments.arm = names[0]
        return _run_stage(arguments)

    config, _, _ = _configured(arguments)
    _origin("ablations", config)  # a missing checkpoint is one line, not one an arm
    from remdm.stages.session import configure_logging

    configure_logging()
    failed: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        own = argparse.Namespace(**vars(arguments) | {"arm": name, "seed": str(config.seed)})
        if arguments.output is not None:
            own.output = arguments.output / name / f"s{config.seed}"
        logger.info("ablations: arm %d of %d, %s", number, len(names), name)
        try:
            if _is_done(own):
                logger.info("%s: done already", name)
            else:
                _run_stage(own)
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

    folder = arguments.output or _default_folder("ablations", config, arguments.config).parents[1]
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


def _is_done(arguments: argparse.Namespace) -> bool:
    """Whether the run's results are there already."""
    config, _, _ = _configured(arguments)
    folder = arguments.output or _default_folder(arguments.mode, config, arguments.config)
    return recorded_digest(folder / "run.json") == _origin(arguments.mode, config).digest


def _configured(arguments: argparse.Namespace) -> tuple[StageConfig, RuntimeConfig, list[str]]:
    """The configuration of a stage, its inputs on this machine, and what there is to say about it."""
    mode, model = arguments.mode, STAGES[arguments.mode]
    keys = [*model.model_fields, *runtime_model(model).model_fields]
    given = {key: parse_value(text) for key in keys if (text := getattr(arguments, key)) is not None}
    preset = arguments.config or ("smoke" if mode == "smoke" else None)
    flags = Layer("command line", given)
    layers = [*base_layers(preset), flags]
    config, runtime = build(model, layers), build(runtime_model(model), layers)
    fetched = {
        key: _fetched(path, runtime.wandb_download_dir)
        for key, path in config.inputs().items()
        if path is not None and is_reference(path)
    }
    layers.append(Layer("W&B", fetched))
    notes = overridden(model, layers)
    if issubclass(model, PlayingConfig):
        path = fetched.get("checkpoint_path") or config.inputs().get("checkpoint_path")
        notes += _take_from_checkpoint(layers, path)
    config = build(model, layers)
    return config, runtime, notes + without_effect(config, flags)


def _take_from_checkpoint(layers: list[Layer], path: str | None) -> list[str]:
    """Lay what a checkpoint says of itself over the defaults; returns what the other layers contradict."""
    if path is None or not Path(path).is_dir():
        return []  # the stage will say so
    record = Path(path) / "metadata.json"
    if not record.exists():
        layers.insert(1, Layer(path, _told_by_arrays(path)))
        return []
    try:
        metadata = json.loads(record.read_text(encoding="utf-8"))
        policy = {"planner": "planner", "expert": "expert"}[metadata["kind"]]
        network = dict(metadata["network"])
        own = {"env_name": metadata["env_name"], "policy": policy}
    except (OSError, ValueError, KeyError, TypeError):
        return []  # whoever opens the checkpoint will say what is wrong with it
    notes = [
        f"{layer.origin}: {key} = {value}: ignored; the checkpoint has {network[key]}"
        for layer in layers[1:]
        for key, value in layer.values.items()
        if key in network and network[key] != value
    ]
    layers.insert(1, Layer(str(record), own))
    return notes


def _told_by_arrays(path: str) -> dict[str, Any]:
    """The keys that a public checkpoint, which has no metadata, decides."""
    from remdm.loading.checkpoint import read_public

    try:
        baseline = read_public(Path(path)).baseline
    except UserError:
        return {}  # whoever opens it will say what is wrong with it
    return {"policy": "expert"} | ({"env_name": baseline.env_name} if baseline.env_name else {})


def _fetched(reference: str, folder: str | None) -> str:
    from remdm.stages.session import configure_logging

    configure_logging()
    return str(fetch(reference, Path(folder or "artifacts")))


def _default_folder(mode: str, config: StageConfig, preset: str | None) -> Path:
    """The pipeline's layout in a folder of its own, `runs/<env>/<stage>/<name>/s<seed>`."""
    keys = config.model_dump()
    name = Path(preset).stem if preset else "defaults"
    fixed = {"ppo": "ppo_model_type", "inference": "policy", "film": "policy", "ablations": "arm"}
    named = {"smoke": "random", "sweep": "planner"}
    name = named[mode] if mode in named else keys[fixed[mode]] if mode in fixed else name
    return Path("runs") / keys["env_name"] / mode / name / f"s{config.seed}"


def _refuse_another_run(folder: Path, digest: str) -> None:
    """Let the same command repeat itself, but never overwrite another's results."""
    held = recorded_digest(folder / "run.json")
    if held is not None and held != digest:
        raise UserError(f"{folder}: holds the results of another run; name another folder with --output")


def _draw(model: type[StageConfig], folder: Path) -> None:
    """The figures that the pipeline's rules draw of a run."""
    if model is STAGES["inference"]:
        from remdm.analysis.achievements import draw_unlocked

        draw_unlocked([str(folder / "summary.json")], folder / "achievements.png")
    elif model is STAGES["film"]:
        _draw_film(folder)
    elif model is STAGES["sweep"]:
        from remdm.analysis.sweep import draw_sweep

        draw_sweep(folder, folder / "sweep.png")
    else:
        from remdm.analysis.curves import draw_curves

        for metrics in sorted(folder.rglob("metrics.parquet")):
            draw_curves(metrics.parent, metrics.parent / "curves.png")


def _draw_film(folder: Path) -> None:
    from remdm.analysis.denoising import draw_denoising
    from remdm.analysis.episode import draw_episode
    from remdm.analysis.film import film_title, read_film
    from remdm.analysis.path import draw_path
    from remdm.analysis.unlocks import draw_unlocks

    film, title = read_film(folder / "film.npz"), film_title(folder)
    draw_episode(film, folder / "episode.gif", title)
    draw_path(film, folder / "path.png", title)
    draw_unlocks({folder.parent.name: film}, folder / "unlocks.png", title)
    if len(film.traces):
        draw_denoising(film, folder / "denoising.png", title)


def _show(arguments: argparse.Namespace) -> None:
    from remdm.loading.checkpoint import summary

    path = arguments.path
    if is_reference(path):
        path = _fetched(path, arguments.wandb_download_dir)
    told = summary(Path(path))
    for name, text in told.items():
        print(f"{name:<{max(map(len, told))}}  {text}")


def _bench(arguments: argparse.Namespace) -> None:
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
        from remdm.analysis.growth import draw_growth

        draw_growth(path, path.with_suffix(".png"))
        print(f"figure in {path.with_suffix('.png')}")


def _why(arguments: argparse.Namespace) -> None:
    overrides = {} if arguments.scale is None else {"scale": arguments.scale}
    print(*explain(Plan.load(Path("workflow_config.yaml"), overrides), arguments.target), sep="\n")


def _provenance(arguments: argparse.Namespace) -> None:
    print(*chain(arguments.target), sep="\n")


def _keys(arguments: argparse.Namespace) -> None:
    print(json.dumps(json_schema(), indent=2) if arguments.schema else reference_page(), end="")
    if arguments.schema:
        print()


def _underscored(argument: str) -> str:
    """`--plan-horizon=8` as `--plan_horizon=8`; values stay as they are."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


if __name__ == "__main__":
    sys.exit(main())
