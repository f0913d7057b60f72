"""What makes a stage stale: its keys, the code it can reach, and its inputs. Never a clock."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remdm.config.base import StageConfig, UserError
from remdm.workflow.source import ROOT, source_digest


def stage_digest(stage: str, config: StageConfig, inputs: Sequence[str]) -> str:
    """Digest of a job, given the digests of its inputs."""
    source = source_digest(ROOT / "remdm" / "stages" / f"{stage}.py")
    return _digest({"stage": stage, "config": config.recorded(), "source": source, "inputs": inputs})


def figure_digest(module: str, inputs: Sequence[str]) -> str:
    """Digest of a figure or table drawn by a module of `analysis/`, given those of what it shows."""
    source = source_digest(ROOT / "remdm" / "analysis" / f"{module}.py")
    return _digest({"source": source, "inputs": inputs})


def content_digest(key: str, path: str | None) -> str:
    """Digest of an input that no stage made: the names and contents of all its files.

    Args:
        key: the configuration key that names the folder `path`, for messages.

    Raises:
        UserError: no path, or no such folder.
    """
    if path is None:
        raise UserError(f"{key} = null: name the folder of a checkpoint")
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{key} = {path}: no such folder")
    digest = hashlib.sha256()
    try:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(folder)}\0".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise UserError(f"{key} = {path}: {error.filename} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
