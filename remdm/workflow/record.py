"""What results say of their own origin, beside them on disk."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from remdm.base.errors import UserError
from remdm.base.files import read_json
from remdm.workflow.digest import Origin


class Acceptance(BaseModel):
    """That a user let a result of older code, of this digest, count as current."""

    digest: str
    at: str
    git_commit: str | None


class Record(BaseModel):
    """What is read of a record such as `run.json`; that of a figure has digest and origin only."""

    digest: str
    origin: Origin
    seed: int | None = None
    config: dict[str, Any] = {}
    git_commit: str | None = None
    accepted: list[Acceptance] = []

    @property
    def digests(self) -> set[str]:
        """Those under which its user may have read it, the present one among them."""
        return {self.digest, *(accepted.digest for accepted in self.accepted)}

    @property
    def made_at(self) -> str:
        """The commit of the code that made it, for a message; nothing where that is not known."""
        return f" (made at commit {self.git_commit[:10]})" if self.git_commit else ""


def read_record(path: Path) -> Record | None:
    """A record; None where there is none.

    Raises:
        UserError: it is damaged.
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
    """The digest in a record; None where there is none that can be read."""
    try:
        return str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # whoever reads the result will say so
