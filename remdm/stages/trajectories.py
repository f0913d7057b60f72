"""Storage of an expert's trajectories: packed arrays on disk during play, an `.npz` at the end."""

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from remdm.base.errors import UserError
from remdm.base.files import whole_file
from remdm.base.program import one_behind
from remdm.base.trajectory_file import DTYPES, METADATA, TrajectoryMetadata
from remdm.envs.craftax import Game
from remdm.envs.packing import Packed, num_bytes, pack, unpack
from remdm.play.rollout import Transition

logger = logging.getLogger("remdm")

ROWS = 4096  # observations that are unpacked at a time
WHOLE = [name for name in DTYPES if name != "obs"]  # stored as they are; observations are packed


class Trajectories:
    """Steps of E environments, written to disk as they are played; memory does not grow with their number."""

    def __init__(self, folder: Path, path: Path, game: Game, num_envs: int, num_steps: int) -> None:
        """Allocate the arrays on disk, and log their size.

        Args:
            folder: the folder of the arrays; it is emptied.
            path: the path of the final `.npz`, in an existing folder.

        Raises:
            UserError: a disk is too small.
        """
        self.folder, self.path, self.game, self.shape = folder, path, game, (num_envs, num_steps)
        obs = jax.ShapeDtypeStruct((*self.shape, game.obs_dim), DTYPES["obs"])
        packed = jax.eval_shape(lambda obs: pack(obs, game), obs)
        arrays = {name: jax.ShapeDtypeStruct(self.shape, DTYPES[name]) for name in WHOLE}
        arrays |= packed._asdict()
        frames = num_envs * num_steps
        logger.info(f"collect: {frames:,} frames, {num_bytes(obs) / 1e9:.2f} GB before compression")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # The `.npz` is smaller than these arrays, and is written while they still exist.
        size, folders = num_bytes(arrays), (folder, path.parent)
        for place in folders:
            needed = size * sum(place.stat().st_dev == other.stat().st_dev for other in folders)
            free = shutil.disk_usage(place).free
            if needed > free:
                raise UserError(
                    f"collect_num_steps = {frames}: {needed / 1e9:.1f} GB are needed on the disk of {place}, "
                    f"which has {free / 1e9:.1f} GB free; lower it"
                )
        self.arrays = {name: _on_disk(folder / f"{name}.npy", x) for name, x in arrays.items()}

    def store(self, played: Transition, first: int) -> None:
        """Store steps [T, E, ...] with packed observations, starting at step `first`."""
        step = played.step
        kept = {"actions": played.action, "rewards": step.reward, "dones": step.done, **played.obs._asdict()}
        for name, values in kept.items():
            self.arrays[name][:, first : first + len(values)] = np.swapaxes(values, 0, 1)

    def write(self, metadata: TrajectoryMetadata) -> None:
        """Write the `.npz`; observations are nearly all zeros, and compress about 40 times."""
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(DTYPES["obs"])),
            "fortran_order": False,
            "shape": (*self.shape, self.game.obs_dim),
        }
        with (
            whole_file(self.path) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            with archive.open(f"{METADATA}.npy", "w") as file:
                text = json.dumps(metadata._asdict())
                np.lib.format.write_array(file, np.array(text), allow_pickle=False)
            with archive.open("obs.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for obs in self._observations():
                    file.write(np.asarray(obs).data)
            for name in WHOLE:
                archive.write(self.folder / f"{name}.npy", f"{name}.npy")

    def _observations(self) -> Iterator[jax.Array]:
        """All observations, `ROWS` at a time; while some are compressed, the next are unpacked."""
        parts: list[Any] = [self.arrays[name] for name in Packed._fields]
        rows = [x.reshape(self.shape[0] * self.shape[1], x.shape[-1]) for x in parts]
        unpacked = jax.jit(lambda packed: unpack(packed, self.game))
        starts = range(0, len(rows[0]), ROWS)
        return one_behind(unpacked(Packed(*(x[first : first + ROWS] for x in rows))) for first in starts)


def _on_disk(path: Path, like: jax.ShapeDtypeStruct) -> np.memmap:
    """An array in a file, allocated at once, because a disk that fills up later would end the process.

    Raises:
        UserError: the disk is full, or the file system cannot map files into memory.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=like.shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be made or mapped into memory ({error.strerror}), as collect needs; lower "
            f"collect_num_steps, or run it in a folder on another disk"
        ) from None
    return array
