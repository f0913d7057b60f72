"""Weights & Biases: a run's metrics and models go there, and models come from there.

Nothing here is needed to train. No other module imports `wandb`, whose import alone takes seconds.
"""

import logging
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from remdm.base.errors import UserError
from remdm.config.runtime import RuntimeConfig
from remdm.config.workflow import WANDB, WANDB_FORM, is_well_formed
from remdm.training.metrics import Row

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb.sdk.wandb_run import Run
    from wandb.sdk.wandb_setup import _WandbSetup

logger = logging.getLogger("remdm")

INIT_SECONDS = 10.0
FINISH_SECONDS = 15.0
CLOSE_SECONDS = 30.0
FETCH_SECONDS = 1800.0
QUEUED_ROWS = 10_000


class Tracker:
    """Sends a run's metrics and artifacts to W&B from a thread of its own.

    All methods except `close`, which has a time limit, return at once. A failure of the client, the server
    or the network is one line in the log and never stops training.
    """

    def __init__(self, runtime: RuntimeConfig, run_id: str, name: str, config: dict[str, Any]) -> None:
        self._identity = {
            "id": run_id,
            "project": runtime.wandb_project,
            "entity": runtime.wandb_entity,
            "name": name,
            "config": config,
            "resume": "allow",
        }
        self._jobs: queue.SimpleQueue[Callable[[Run], None] | None] = queue.SimpleQueue()
        self._dropped = 0
        self._folder: Path | None = None
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def log(self, rows: Sequence[Row]) -> None:
        """Send rows; those that find the queue full are dropped."""
        if not self._thread.is_alive():
            return
        for row in rows:
            if self._jobs.qsize() < QUEUED_ROWS:
                self._jobs.put(partial(_log_row, row))
            else:
                self._dropped += 1

    def upload(self, name: str, folder: Path, metadata: dict[str, Any]) -> None:
        """Send the folder's files as a model; they must stay as they are until `close` returns."""
        self._jobs.put(partial(_upload, name, folder, metadata))

    def close(self) -> None:
        """Wait for what is under way, but not for long, and say what was left behind."""
        self._jobs.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._dropped:
            logger.warning(f"W&B: too slow, so it missed {self._dropped} rows of the metrics")
        if self._thread.is_alive():
            rest = _how_to_sync(self._folder) if self._folder else "nothing of this run has reached it"
            logger.warning(f"W&B: not done after {CLOSE_SECONDS:.0f} s, so it is left behind; {rest}")

    def _work(self) -> None:
        try:
            with _client() as wandb:
                run = self._open(wandb)
                for job in iter(self._jobs.get, None):
                    job(run)
                _finish(run)
        # The client raises what it likes, and SystemExit where its service has crashed.
        except (Exception, SystemExit) as error:
            logger.warning(f"W&B: tracking stops, training goes on: {_reason(error)}")

    def _open(self, wandb: ModuleType) -> "Run":
        mode = _start_service(wandb).settings.mode
        if mode != "online":
            return self._init(wandb, mode, "as asked")
        try:
            # Without this, `init` would ask for a key on the terminal.
            if wandb.login(prompt=False, verify=False):
                return self._init(wandb, "online")
            reason = "no credentials"
        except Exception as error:  # of any kind: recording offline remains
            reason = _reason(error)
        # A service does not give the id of a run that failed to start to another run.
        wandb.teardown()
        _start_service(wandb)
        return self._init(wandb, "offline", reason)

    def _init(self, wandb: ModuleType, mode: str, reason: str = "") -> "Run":
        run: Run = wandb.init(mode=mode, **self._identity)
        if run.disabled:
            return run
        self._folder = Path(run.dir).parent
        if run.offline:
            logger.info(f"W&B: recording offline ({reason}); {_how_to_sync(self._folder)}")
        else:
            logger.info(f"W&B: {run.url}")
        run.define_metric("frames")
        run.define_metric("*", step_metric="frames")
        return run


class NoTracker:
    """Stands for a tracker where none is wanted."""

    def log(self, rows: Sequence[Row]) -> None:
        """Do nothing."""

    def upload(self, name: str, folder: Path, metadata: dict[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def new_run_id() -> str:
    """An id for a W&B run, known before W&B is reached and enough to go on with that run later."""
    return f"r{secrets.token_hex(6)}"  # a letter in front: YAML would read some of these as numbers


def _log_row(row: Row, run: "Run") -> None:
    # A resumed run repeats the updates since its last save; W&B has them, and would warn of each.
    if row["update"] >= run.starting_step:
        run.log({key: value for key, value in row.items() if key != "update"}, step=int(row["update"]))


def _upload(name: str, folder: Path, metadata: dict[str, Any], run: "Run") -> None:
    import wandb

    artifact = wandb.Artifact(name, type="model", metadata=metadata)
    artifact.add_dir(str(folder))
    run.log_artifact(artifact)


def _finish(run: "Run") -> None:
    try:
        run.finish()
    except TimeoutError:
        rest = _how_to_sync(Path(run.dir).parent)
        logger.warning(f"W&B: not all was uploaded within {FINISH_SECONDS:.0f} s; {rest}")


def is_reference(path: str) -> bool:
    """Whether `path` names an artifact of W&B and not a file."""
    return path.startswith(WANDB)


def fetch(reference: str, download_dir: Path) -> Path:
    """Bring the artifact `wandb:entity/project/name:version` under `download_dir`, unless it is there.

    The entity, or both it and the project, may be left to the client's settings; an alias may stand for
    the version. It all happens in another process, for the client waits for some servers without a limit.

    Returns:
        The artifact's folder, which is whole.

    Raises:
        UserError: there is no such artifact, no way to it, or it is not one to be trusted.
    """
    if not is_well_formed(reference):
        raise UserError(f"{reference}: not of the form {WANDB_FORM}")
    name = reference.removeprefix(WANDB)
    try:
        download_dir.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(dir=download_dir, prefix=".partial-")
    except OSError as error:
        raise UserError(f"{download_dir}: cannot be written ({error.strerror})") from None
    with scratch:
        logger.info(f"W&B: fetching {name}")
        command = [sys.executable, "-m", __name__, name, str(download_dir), scratch.name]
        try:
            process = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{reference}: W&B took longer than {FETCH_SECONDS:.0f} s") from None
    if process.returncode:
        reason = (process.stdout or process.stderr).strip().splitlines()[-1:] or ["its process died"]
        raise UserError(f"{reference}: cannot be fetched from W&B: {reason[0]}")
    return Path(process.stdout.strip())


def _fetch_here(name: str, download_dir: Path, scratch: Path) -> Path:
    with _client() as wandb:
        wandb.setup(wandb.Settings(silent=True, mode="online"))
        if not wandb.login(prompt=False, verify=False):
            raise UserError("no credentials; `wandb login` stores them, or set WANDB_API_KEY")
        artifact = wandb.Api().artifact(name)
        _check(artifact)
        folder = download_dir.joinpath(*name.rpartition(":")[0].split("/"), artifact.version)
        if folder.exists():
            _verify(artifact, folder)
            return folder
        fresh = scratch / "artifact"
        artifact.download(root=str(fresh), skip_cache=True)
        artifact.verify(str(fresh))
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        fresh.rename(folder)
    except OSError:
        # Another job may have fetched the same meanwhile.
        if not folder.exists():
            raise
    return folder


def _check(artifact: "Artifact") -> None:
    """Refuse an artifact that could write outside of its folder, or copy files from elsewhere into it."""
    if not re.fullmatch(r"v\d+", artifact.version):
        raise UserError(f"its version is {artifact.version!r}, which is none")
    for path, entry in artifact.manifest.entries.items():
        parts = PurePosixPath(path).parts
        outside = not parts or parts[0] == "/" or ".." in parts or PureWindowsPath(path).drive
        if outside or "\\" in path or not path.isprintable():
            raise UserError(f"its entry {path!r} is not a path within its folder, so nothing was fetched")
        if entry.ref is not None:
            raise UserError(f"its entry {path!r} refers to {entry.ref!r}, so nothing was fetched")


def _verify(artifact: "Artifact", folder: Path) -> None:
    try:
        artifact.verify(str(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is not what W&B has ({error}); remove it to fetch it again") from None


@contextmanager
def _client() -> Iterator[ModuleType]:
    """The client; its service process ends with the block."""
    # It reports its own errors to the server, of offline runs too, and a server that hangs would hold up
    # the exit for 20 s.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    try:
        yield wandb
    finally:
        wandb.teardown()


def _start_service(wandb: ModuleType) -> "_WandbSetup":
    """Start the client's service process, and take back what that does to ours.

    It wraps `sys.exit` and `sys.excepthook`, and has the exit wait for the service, however long.
    """
    exit_, excepthook = sys.exit, sys.excepthook
    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
        reinit="create_new",
        stop_fn=_refuse_to_stop,
    )
    setup: _WandbSetup = wandb.setup(settings)
    sys.exit, sys.excepthook = exit_, excepthook
    connection = setup._connection
    if connection is not None and connection._cleanup is not None:
        connection._cleanup()
    wandb.termsetup(settings, _ClientLog())
    return setup


def _refuse_to_stop() -> None:
    # The client's own answer is to interrupt the main thread.
    logger.warning("W&B: asked to stop the run from its page, which it cannot")


class _ClientLog:
    """Where a silent client's messages go: warnings, each once, to our log."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def info(self, message: str) -> None:
        """Drop it."""

    def warning(self, message: str) -> None:
        """Pass it on."""
        line = re.sub(r"^wandb: ([A-Z]+ )?", "", _one_line(message))
        if line not in self._said:
            self._said.add(line)
            logger.warning(f"W&B: {line}")

    error = warning


def _how_to_sync(folder: Path) -> str:
    return f"`wandb sync {folder}` sends it"


def _reason(error: BaseException) -> str:
    return _one_line(str(error)) or type(error).__name__


def _one_line(message: str) -> str:
    """The first line of a message of the client, without what may be a key or the login of a URL."""
    line = message.strip().partition("\n")[0]
    return re.sub(r"(?<=//)[^/\s]*@|[\w-]{40,}", "***", line)


if __name__ == "__main__":
    try:
        print(_fetch_here(sys.argv[1], *map(Path, sys.argv[2:])))
    except Exception as error:  # of the client, the network or the disk: `fetch` names the reference
        print(_reason(error))
        sys.exit(2)
