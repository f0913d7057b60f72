"""The choice of GPUs for a local job, if there are more than it needs."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from remdm.base.errors import UserError
from remdm.base.machine import visible_gpus
from remdm.training.lock import locked


@contextmanager
def claimed(count: int) -> Iterator[None]:
    """Let JAX see `count` GPUs that no other job of this user uses; 0 changes nothing.

    On Slurm there is nothing to choose, because it assigns GPUs to each job.

    Raises:
        UserError: fewer GPUs are free, or the folder of the locks belongs to another user.
    """
    visible = visible_gpus()
    if not 0 < count < len(visible):
        yield
        return
    locks = _own_folder()
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with ExitStack() as held:
        mine: list[str] = []
        for name in visible:
            try:
                held.enter_context(locked(locks / name))
            except UserError:
                continue
            mine.append(name)
            if len(mine) == count:
                break
        else:
            raise UserError(f"gpu = {count}: {len(mine)} of {len(visible)} GPUs are free of other jobs")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        try:
            yield
        finally:
            if before is None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _own_folder() -> Path:
    """The folder of this user's locks, in which no other user can create links."""
    folder = Path(tempfile.gettempdir()) / f"remdm-gpus-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise UserError(f"{folder}: is a link, or not yours; remove it, or set TMPDIR")
    folder.chmod(0o700)
    return folder
