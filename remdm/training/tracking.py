"""Sends a run's metrics and models to Weights & Biases, and downloads models from there.

Training does not need it. Its client runs in a process of its own, `wandb_client.py`.
"""

import json
import logging
import os
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from remdm.base.errors import UserError
from remdm.config.references import WANDB, problem_of_reference
from remdm.config.runtime import RuntimeConfig

logger = logging.getLogger("remdm")

INIT_SECONDS = 10.0
FINISH_SECONDS = 15.0
CLOSE_SECONDS = 30.0
FETCH_SECONDS = 1800.0
QUEUED_ROWS = 10_000


class Tracker:
    """Sends a run's metrics and artifacts to W&B through a process of its own.

    All methods except `close`, which has a time limit, return at once. A failure of the client, the server
    or the network is one line in the log and never stops training.
    """

    def __init__(self, runtime: RuntimeConfig, run_id: str, name: str, config: dict[str, Any]) -> None:
        settings = {"init_timeout": INIT_SECONDS, "finish_timeout": FINISH_SECONDS}
        project, entity = runtime.wandb_project, runtime.wandb_entity
        identity = {"id": run_id, "project": project, "entity": entity, "name": name, "config": config}
        self._commands: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._dropped = 0
        self._client: subprocess.Popen[str] | None = None
        self._rest = "nothing of this run has reached it"
        self._left_behind = False
        start = [sys.argv, settings, identity]
        self._thread = threading.Thread(target=self._work, args=(start,), name="wandb", daemon=True)
        self._thread.start()

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Send rows; those that find the queue full are dropped."""
        if not self._thread.is_alive():
            return
        for row in rows:
            if self._commands.qsize() < QUEUED_ROWS:
                self._commands.put(["log", row])
            else:
                self._dropped += 1

    def upload(self, name: str, folder: Path, metadata: dict[str, Any]) -> None:
        """Send the folder's files as a model; they must stay as they are until `close` returns."""
        self._commands.put(["upload", name, str(folder), metadata])

    def close(self) -> None:
        """Wait a limited time for the client to finish, and log what was not sent."""
        self._commands.put(["finish"])
        self._commands.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._dropped:
            logger.warning(f"W&B: too slow, so it missed {self._dropped} rows of the metrics")
        if self._thread.is_alive():
            self._left_behind = True
            logger.warning(f"W&B: not done after {CLOSE_SECONDS:.0f} s, so it is left behind; {self._rest}")
            if self._client:
                self._client.kill()

    def _work(self, start: list[Any]) -> None:
        """Start the client and log its messages until it ends."""
        try:
            self._client = client = subprocess.Popen(
                _client_command("track", CLOSE_SECONDS),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # so that only training receives Ctrl-C; it then ends the run
            )
        except OSError as error:
            logger.warning(f"W&B: tracking stops, training continues: {error}")
            return
        feed = threading.Thread(target=self._feed, args=(start, client.stdin, client.stdout), daemon=True)
        feed.start()
        for line in client.stderr or ():
            level, ours, message = line.rstrip().partition(":remdm:")
            if ours:  # the client and its service may print other lines
                logger.log(logging.INFO if level == "INFO" else logging.WARNING, f"W&B: {message}")
        if client.wait() and not self._left_behind:
            logger.warning(f"W&B: tracking stops, training continues: its process died ({client.returncode})")

    def _feed(self, start: list[Any], commands: IO[str], opened: IO[str]) -> None:
        """Send the commands, each a line, once the run is open; waits for a slow client."""
        with suppress(OSError), commands:  # an error means that the client died, which `_work` logs
            print(json.dumps(start), file=commands, flush=True)
            self._rest = opened.readline().strip()
            for command in iter(self._commands.get, None):
                print(json.dumps(command), file=commands, flush=True)


def new_run_id() -> str:
    """An id for a W&B run, known before W&B is reached and sufficient to resume that run later."""
    return f"r{secrets.token_hex(6)}"  # a letter in front, because YAML would read some of these as numbers


def fetch(reference: str, download_dir: Path) -> Path:
    """Download the artifact `wandb:entity/project/name:version` into `download_dir`, unless it is there.

    The entity, or both it and the project, may be left to the client's settings; the version may be an
    alias. This runs in another process, because the client may wait for a server for ever.

    Returns:
        The artifact's complete folder.

    Raises:
        UserError: the artifact is missing, unreachable or not trusted.
    """
    if problem := problem_of_reference(reference):
        raise UserError(f"{reference}: {problem}")
    name = reference.removeprefix(WANDB)
    try:
        download_dir.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(dir=download_dir, prefix=".partial-")
    except OSError as error:
        raise UserError(f"{download_dir}: cannot be written ({error.strerror})") from None
    with scratch:
        logger.info(f"W&B: fetching {name}")
        command = _client_command("fetch", 0.0, name, str(download_dir), scratch.name)
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


def _client_command(task: str, grace: float, *arguments: str) -> list[str]:
    """Run the client until `grace` seconds after this process; -P imports nothing of the working folder."""
    module = "remdm.training.wandb_client"
    return [sys.executable, "-P", "-m", module, str(os.getpid()), str(grace), task, *arguments]
