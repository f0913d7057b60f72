"""The client of Weights & Biases, in a process of its own, which it may block, end or crash.

`tracking.py` starts it. No other module imports `wandb`, because its import takes seconds.
"""

import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from remdm.base.errors import UserError
from remdm.base.files import move

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb.sdk.wandb_run import Run

logger = logging.getLogger("remdm")

# pydantic's message about settings: a line that counts them, the key of the first, and its problem.
INVALID = re.compile(
    r"\d+ validation errors? for Settings\s+(?P<key>\S+)\n"
    r"\s*(?P<problem>.*) \[type=.*, input_value=(?P<value>.*), input_type"
)


def track(lines: Iterator[str]) -> None:
    """Record a run: the first line identifies it, and each other line is a command.

    Messages go to standard error. Once the run is open, the command to sync it goes to standard output.
    """
    # Only training handles these signals, and then ends the run.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig()
    logger.setLevel(logging.INFO)
    commands = map(json.loads, lines)
    try:
        sys.argv, settings, identity = next(commands)  # the client records which program was started, and how
        with _client() as wandb:
            run = _open(wandb, {"program": sys.argv[0], **settings}, identity)
            print("" if run.disabled else _how_to_sync(run), flush=True)
            _record(wandb, run, commands)
    # The client raises exceptions of any type, and SystemExit if its service has crashed.
    except (Exception, SystemExit) as error:
        logger.warning(f"tracking stops, training continues: {_reason(error)}")


def _open(wandb: ModuleType, settings: dict[str, Any], identity: dict[str, Any]) -> "Run":
    chosen = _start_service(wandb, settings)
    if chosen.mode != "online":
        return _init(wandb, identity, chosen.mode, _who_chose(chosen))
    try:
        # Without this, `init` would ask for a key on the terminal.
        if wandb.login(prompt=False, verify=False):
            return _init(wandb, identity, "online")
        reason = f"no credentials for {_one_line(chosen.base_url)}"
    except Exception as error:  # of any type: record offline instead
        reason = _reason(error)
    # A service does not give the id of a run that failed to start to another run.
    wandb.teardown()
    _start_service(wandb, settings)
    return _init(wandb, identity, "offline", reason)


def _start_service(wandb: ModuleType, settings: dict[str, Any]) -> Any:
    """Start the client's service process; returns its settings, those of the user's files included."""
    fixed = {"silent": True, "console": "off", "finish_timeout_raises": True, "stop_fn": _refuse_to_stop}
    chosen = wandb.Settings(**fixed, **settings)
    wandb.termsetup(chosen, _client_log())  # before it reads the user's files
    client = wandb.setup(chosen)
    wandb.termsetup(chosen, _client_log())  # which that has undone
    return client.settings


def _who_chose(settings: Any) -> str:
    """Where the user switched recording off, or uploading."""
    if "WANDB_MODE" in os.environ:
        return "as asked"
    files = [file for file in (settings.settings_workspace, settings.settings_system) if Path(file).is_file()]
    return f"mode = {settings.mode} in {' or '.join(files)}"


def _init(wandb: ModuleType, identity: dict[str, Any], mode: str, reason: str = "") -> "Run":
    run: Run = wandb.init(mode=mode, resume="allow", **identity)
    if run.disabled:
        if reason != "as asked":
            logger.info(f"nothing is recorded ({reason})")
        return run
    logger.info(f"recording offline ({reason}); {_how_to_sync(run)}" if run.offline else run.url)
    run.define_metric("frames")
    run.define_metric("*", step_metric="frames")
    return run


def _record(wandb: ModuleType, run: "Run", commands: Iterator[list[Any]]) -> None:
    exit_code = 1  # of a training that died without the command `finish`
    for name, *arguments in commands:
        if name == "log":
            (row,) = arguments
            # A resumed run repeats the updates since its last save; W&B has them, and would warn of each.
            if (step := int(row.pop("update"))) >= run.starting_step:
                run.log(row, step=step)
        elif name == "upload":
            model, folder, metadata = arguments
            artifact = wandb.Artifact(model, type="model", metadata=metadata)
            artifact.add_dir(folder)
            run.log_artifact(artifact)
        else:
            exit_code = 0
    try:
        run.finish(exit_code)
    except TimeoutError:
        seconds = run.settings.finish_timeout
        logger.warning(f"not all was uploaded within {seconds:.0f} s; {_how_to_sync(run)}")


def _refuse_to_stop() -> None:
    # By default, the client would interrupt the main thread.
    logger.warning("asked to stop the run from its page: not possible; stop the training itself")


@cache
def _client_log() -> SimpleNamespace:
    """A log for a silent client: the first line of each warning goes to remdm's log, once."""
    warn_once = cache(logger.warning)

    def warn(message: str) -> None:
        message = re.sub(r"^wandb: ([A-Z]+ )?", "", message, flags=re.MULTILINE)
        ignored = ", so W&B ignores the file with this setting" if INVALID.match(message) else ""
        warn_once(_one_line(message) + ignored)

    return SimpleNamespace(info=lambda message: None, warning=warn, error=warn)


def fetch(name: str, download_dir: Path, scratch: Path) -> Path:
    """Download an artifact completely, or verify the copy that is there; returns its folder."""
    with _client() as wandb:
        wandb.setup(wandb.Settings(silent=True, mode="online"))
        if not wandb.login(prompt=False, verify=False):
            host = _one_line(wandb.setup().settings.base_url)
            raise UserError(f"no credentials; `wandb login` stores them for {host}, or set WANDB_API_KEY")
        artifact = wandb.Api().artifact(name)
        _check(artifact)
        folder = download_dir.joinpath(*name.rpartition(":")[0].split("/"), artifact.version)
        if folder.exists():
            try:
                artifact.verify(str(folder))
            except (OSError, ValueError) as error:
                problem = f"{folder} differs from the artifact in W&B ({error})"
                raise UserError(f"{problem}; remove it to fetch it again") from None
            return folder
        fresh = scratch / "artifact"
        artifact.download(root=str(fresh), skip_cache=True)
        artifact.verify(str(fresh))
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        move(fresh, folder)
    except OSError:
        # Another job may have downloaded the same artifact meanwhile.
        if not folder.exists():
            raise
    return folder


def _check(artifact: "Artifact") -> None:
    """Refuse an artifact that could write outside of its folder, or copy files from elsewhere into it."""
    if not re.fullmatch(r"v\d+", artifact.version):
        raise UserError(f"its version is {artifact.version!r}; versions are v0, v1, ...")
    for path, entry in artifact.manifest.entries.items():
        parts = PurePosixPath(path).parts
        outside = not parts or parts[0] == "/" or ".." in parts or PureWindowsPath(path).drive
        if outside or "\\" in path or not path.isprintable():
            raise UserError(f"its entry {path!r} is not a path within its folder, so nothing was fetched")
        if entry.ref is not None:
            raise UserError(f"its entry {path!r} refers to {entry.ref!r}, so nothing was fetched")


@contextmanager
def _client() -> Iterator[ModuleType]:
    """The client; its service process ends with the block."""
    # It reports its own errors to the server, also those of offline runs, and a server that hangs would delay
    # the exit by 20 s.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    try:
        yield wandb
    finally:
        wandb.teardown()


def _how_to_sync(run: "Run") -> str:
    return f"`wandb sync {Path(run.dir).parent}` sends it"


def _reason(error: BaseException) -> str:
    return _one_line(str(error)) or type(error).__name__


def _one_line(message: str) -> str:
    """The first line of a message of the client, without what may be a key or the login of a URL.

    For invalid settings, the first key and its problem.
    """
    line = message.strip().partition("\n")[0]
    if wrong := INVALID.match(message.strip()):
        line = "{key} = {value}: {problem}".format_map(wrong.groupdict())
    return re.sub(r"(?<=//)[^/\s]*@|[\w-]{40,}", "***", line)


def _end_after(parent: int, grace: float) -> None:
    """End this process `grace` seconds after its parent, whatever the client waits for."""
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(grace)
    os._exit(1)


if __name__ == "__main__":
    parent, grace, task, *arguments = sys.argv[1:]
    threading.Thread(target=_end_after, args=(int(parent), float(grace)), daemon=True).start()
    if task == "track":
        track(sys.stdin)
    else:
        try:
            print(fetch(arguments[0], *map(Path, arguments[1:])))
        except Exception as error:  # of the client, the network or the disk: `tracking` names the reference
            print(_reason(error))
            sys.exit(2)
