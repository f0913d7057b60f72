"""The record that is stored next to each result, with the origin of the result."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from remdm.base.errors import UserError
from remdm.base.files import read_json
from remdm.workflow.digest import Origin


class Acceptance(BaseModel):
    """A user's decision that a result of older code, with this digest, counts as current."""

    digest: str
    at: str
    git_commit: str | None


class Record(BaseModel):
    """The entries read of a record such as `run.json`; a figure's record has only digest and origin."""

    digest: str
    origin: Origin
    seed: int | None = None
    config: dict[str, Any] = {}
    git_commit: str | None = None
    accepted: list[Acceptance] = []

    @property
    def digests(self) -> set[str]:
        """The digests that results made from this one may have recorded: the present and earlier ones."""
        return {self.digest, *(accepted.digest for accepted in self.accepted)}

    @property
    def made_at(self) -> str:
        """The commit of the code that made it, for a message; empty if unknown."""
        return f" (made at commit {self.git_commit[:10]})" if self.git_commit else ""


def read_record(path: Path) -> Record | None:
    """A record; None if there is none.

    Raises:
        UserError: the record is damaged.
    """
    try:
        return Record.model_validate(read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise UserError(
            f"{path}: is no record of a result; delete it, and the result is made again"
        ) from None


def recorded_digest(path: Path) -> str | None:
    """The digest in a record; None if it is missing or unreadable."""
    try:
        return str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # reported where the result is read
