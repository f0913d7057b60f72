"""TensorBoard's event files: curves to watch while a run trains, without an account or a network."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remdm.base.errors import UserError

logger = logging.getLogger("remdm")


class EventFiles:
    """Writes a run's metrics to a folder, against updates; `tensorboard --logdir` shows them as they come.

    An error of writing is one line in the log and never stops training.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is written before the first row.

        Raises:
            UserError: the package that writes them is not installed.
        """
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise UserError(
                "use_tensorboard = True: tensorboardX is not installed; uv sync --extra tensorboard"
            ) from None
        self._folder = folder
        self._writer: Any = None
        self._failed = False

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write rows, each with the key `update`; they are in the file when this returns."""
        if self._failed:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        try:
            if self._writer is None:
                self._writer = self._open(int(rows[0]["update"]))
            for row in rows:
                values = [
                    Summary.Value(tag=name, simple_value=value)
                    for name, value in row.items()
                    if name != "update"
                ]
                summary = Summary(value=values)
                self._writer.write_event(
                    Event(wall_time=time.time(), step=int(row["update"]), summary=summary)
                )
            self._writer.flush()
        except OSError as error:
            self._failed = True
            logger.warning(
                "TensorBoard: %s cannot be written, training continues (%s)", self._folder, error.strerror
            )

    def _open(self, update: int) -> Any:
        """A new file; TensorBoard drops what earlier files have from `update` on.

        A resumed run repeats the updates since its last save.
        """
        # Not `SummaryWriter`: a full disk ends its thread, for which training would then wait.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder.mkdir(parents=True, exist_ok=True)
        # By default, files of the same second have the same name.
        writer = EventsWriter(str(self._folder / "events"), f".{time.time_ns()}")
        start = SessionLog(status=SessionLog.START)
        writer.write_event(Event(wall_time=time.time(), step=update, session_log=start))
        return writer

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None and not self._failed:
            self._writer.close()
