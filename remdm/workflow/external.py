"""Experts and planners that no stage trains: existing checkpoints, on disk or to be fetched."""

import re
from dataclasses import dataclass
from pathlib import Path

from remdm.base.checkpoint_folder import METADATA, find_arrays, is_public, open_checkpoint
from remdm.base.errors import ConfigError, UserError
from remdm.config.layers import Layer
from remdm.config.public import read_record, sampling_keys
from remdm.config.references import WANDB, is_reference, problem_of_reference
from remdm.workflow.digest import content_digest

# The files by which a checkpoint is recognised: ours by the first, public ones by the others.
MARKS = (METADATA, "_METADATA", "*/_METADATA", "*/*/_METADATA", "*/*/*/_METADATA")


@dataclass(frozen=True)
class External:
    """A checkpoint that no stage makes.

    Attributes:
        digest: that of its content, or the reference by which it is fetched.
        plan_horizon: length of a planner's plans; None if it is fetched.
        sampling: sampler keys in the record of a public planner; None if it is fetched.
    """

    checkpoint: str
    digest: str
    reference: str | None = None
    plan_horizon: int | None = None
    sampling: Layer | None = None

    @property
    def slug(self) -> str:
        """The name of the folder into which it is fetched."""
        return Path(self.checkpoint).parent.name


def find_external(key: str, path: str, kind: str, env_name: str, folder: str) -> External:
    """The checkpoint of an expert or a planner that a key names.

    Args:
        key: the key, for messages.
        kind: `expert` or `planner`.
        env_name: the game that the policy must play.
        folder: the destination of fetched checkpoints.

    Raises:
        UserError: it is not a folder, has none of the files of a checkpoint, is of another kind or game, or
            a reference is not of the right form.
    """
    if is_reference(path):
        if problem := problem_of_reference(path):
            raise ConfigError(f"{key} = {path}: {problem}")
        slug = re.sub(r"[^\w.-]+", "-", path.removeprefix(WANDB))
        return External(f"{folder}/{slug}/checkpoint", digest=path, reference=path)
    if Path(path).is_dir() and not any(next(Path(path).glob(mark), None) for mark in MARKS):
        raise ConfigError(
            f"{key} = {path}: is no checkpoint, because it has no metadata.json (ours) and no "
            f"policies/<frames>/default/_METADATA (a public one)"
        )
    digest, place = content_digest(key, path), str(Path(path))
    if not is_public(Path(path)):
        # Otherwise a job would fail hours later on a checkpoint of another policy.
        _, metadata = open_checkpoint(key, path, kind, env_name)
        horizon = metadata.get("network", {}).get("plan_horizon")
        return External(place, digest, plan_horizon=horizon if isinstance(horizon, int) else None)
    if kind == "expert":
        return External(place, digest)
    try:
        record = read_record(find_arrays(Path(path)))
    except UserError as error:
        raise ConfigError(f"{key}: {error}") from None
    if (game := record.values.get("env_name", env_name)) != env_name:
        raise ConfigError(f"{key} = {path}: its ENV_NAME is {game}, but {env_name} is needed")
    horizon = record.values["plan_horizon"]
    return External(place, digest, plan_horizon=horizon, sampling=sampling_keys(record))
