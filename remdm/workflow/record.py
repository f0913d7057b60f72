"""What results say of their own origin, beside them on disk."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from remdm.base.errors import UserError
from remdm.base.files import read_json
from remdm.workflow.digest import Origin


class _Acceptance(BaseModel):
    digest: str
    at: str
    git_commit: str | None


class _Record(BaseModel):
    """What is read of a record; that of a figure has digest and origin only."""

    digest: str
    origin: Origin
    seed: int | None = None
    config: dict[str, Any] = {}
    git_commit: str | None = None
    accepted: list[_Acceptance] = []


def read_record(path: Path) -> dict[str, Any] | None:
    """A record such as `run.json`; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    try:
        record = read_json(path)
        _Record.model_validate(record)
        recorded_origin(record)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{path}: is no record of a result; delete it, and the result is made again"
        ) from None
    return dict(record)


def recorded_digest(path: Path) -> str | None:
    """The digest in a record; None where there is none that can be read."""
    try:
        return str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # whoever reads the result will say so


def recorded_origin(record: dict[str, Any]) -> Origin:
    """The origin that a record holds."""
    return Origin(**record["origin"])
