"""Digest of a job's configuration, the source code it can reach, and its inputs; not of timestamps."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from remdm.base.checkpoint_folder import find_record
from remdm.base.errors import UserError
from remdm.config.stage import StageConfig
from remdm.workflow.source import ROOT, source_digests, web_digests


@dataclass(frozen=True)
class Origin:
    """All that determines a result; stored in its record, with which later origins are compared.

    Attributes:
        stage: the result's stage, or the module that draws it.
        config: the keys that determine it.
        sources: digests of the modules its code can reach, by path in the repository, and the game's release.
        inputs: digests of its inputs, by key or by folder.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")  # checked when a record is read

    stage: str
    config: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The result's digest."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """As JSON, the same text for equal origins."""
        return json.dumps(asdict(self), sort_keys=True)


def stage_origin(stage: str, config: StageConfig, inputs: Mapping[str, str]) -> Origin:
    """The origin of a job's result, given the digests of its inputs by key."""
    modules = (f"stages/{stage}", *config.modules())
    sources = source_digests(*(ROOT / "remdm" / f"{module}.py" for module in modules))
    return Origin(stage, config.recorded(), {**sources, "craftax": game_release()}, dict(inputs))


def game_release() -> str:
    """The release of Craftax without its patch number: 1.5 and 1.6 have different rules."""
    return ".".join(version("craftax").split(".")[:2])


def figure_origin(module: str, inputs: Mapping[str, str]) -> Origin:
    """The origin of a figure that a module of `analysis/` draws, given the digests of its inputs."""
    sources = source_digests(ROOT / "remdm" / "analysis" / f"{module}.py") | web_digests(module)
    return Origin(module, sources=sources, inputs=dict(inputs))


def content_digest(key: str, path: str | None) -> str:
    """Digest of an input that no stage made: the names and contents of all its files; links are followed.

    A single step of a public planner includes the record in the folders above it.

    Args:
        key: the configuration key that names the folder `path`, for messages.

    Raises:
        UserError: no path, no such folder, or no file in it.
    """
    if path is None:
        raise UserError(f"{key} = null: name the folder of a checkpoint")
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{key} = {path}: no such folder")
    digest = hashlib.sha256()
    try:
        files = sorted(_files(folder))
        record = find_record(folder)
        if not files:
            raise UserError(f"{key} = {path}: contains no file, so it is no checkpoint")
        if record is not None and record.parent != folder:
            files.append(record)
        for file in files:
            name = file.relative_to(folder) if file.is_relative_to(folder) else file.name
            digest.update(os.fsencode(name) + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise UserError(f"{key} = {path}: {error.filename} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder; a folder that several links lead to is entered once."""

    def refuse(error: OSError) -> None:
        raise error

    entered = set()
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders.sort()  # of two links to one folder, always follow the same one
        real = os.path.realpath(root)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        yield from (file for name in names if (file := Path(root, name)).is_file())
