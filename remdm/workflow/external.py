"""Experts that no stage trains: checkpoints that are there, or that are fetched."""

import re
from dataclasses import dataclass
from pathlib import Path

from remdm.base.errors import ConfigError
from remdm.base.files import read_json
from remdm.config.workflow import WANDB, WANDB_FORM, is_well_formed
from remdm.workflow.digest import content_digest

METADATA = "metadata.json"
# Where a checkpoint, ours or a public one, has a file by which it is known.
MARKS = (METADATA, "_METADATA", "*/_METADATA", "*/*/_METADATA", "*/*/*/_METADATA")


@dataclass(frozen=True)
class External:
    """A checkpoint that no stage makes; `digest` is of its content, or of the reference it is fetched by."""

    checkpoint: str
    digest: str
    reference: str | None = None

    @property
    def slug(self) -> str:
        """The name of the folder it is fetched into."""
        return Path(self.checkpoint).parent.name


def find_external(key: str, path: str, env_name: str, folder: str) -> External:
    """The expert's checkpoint that a key names.

    Args:
        key: for messages.
        env_name: the game it is to play.
        folder: receives what is fetched.

    Raises:
        UserError: it is no folder, has no file that checkpoints have, is none of an expert for the
            game, or a reference is not of the right form.
    """
    if path.startswith(WANDB):
        if not is_well_formed(path):
            raise ConfigError(f"{key} = {path}: not of the form {WANDB_FORM}")
        slug = re.sub(r"[^\w.-]+", "-", path.removeprefix(WANDB))
        return External(f"{folder}/{slug}/checkpoint", digest=path, reference=path)
    if Path(path).is_dir() and not any(next(Path(path).glob(mark), None) for mark in MARKS):
        raise ConfigError(
            f"{key} = {path}: is no checkpoint, for it has no metadata.json (ours) and no "
            f"policies/<frames>/default/_METADATA (a public one)"
        )
    digest = content_digest(key, path)
    if (Path(path) / METADATA).is_file():
        _check_ours(key, Path(path), env_name)
    return External(str(Path(path)), digest)


def _check_ours(key: str, folder: Path, env_name: str) -> None:
    """Refuse a checkpoint of ours that is no expert for a game; a job would find that out hours later.

    Raises:
        ConfigError: another kind or game, or no readable metadata.
    """
    try:
        metadata = read_json(folder / METADATA)
        fields = {name: metadata.get(name) for name in ("kind", "env_name")}
    except (OSError, ValueError, AttributeError):
        raise ConfigError(f"{key} = {folder}: its {METADATA} cannot be read as an object") from None
    for name, wanted in (("kind", "expert"), ("env_name", env_name)):
        if fields[name] != wanted:
            raise ConfigError(f"{key} = {folder}: its {name} is {fields[name]}, but {wanted} is needed")
