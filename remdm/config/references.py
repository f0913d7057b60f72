"""References to remote checkpoints, accepted in place of a folder: `wandb:` and `hf:`."""

import re
from importlib.util import find_spec
from typing import NamedTuple

WANDB, HUB = "wandb:", "hf:"
FORMS = {WANDB: f"{WANDB}entity/project/name:version", HUB: f"{HUB}owner/repo[/path][@revision]"}

# Entity and project may be omitted; W&B's client then uses its settings.
_PART = r"\w[\w. -]*"
_ARTIFACT = re.compile(rf"(?:(?:{_PART}/)?{_PART}/)?{_PART}:[\w.-]+")
# Without `..`, and without wildcards of file patterns.
_REPO = re.compile(
    r"(?!.*\.\.)(?P<repo>\w[\w.-]*/\w[\w.-]*)(?P<path>(?:/\w[\w.+=-]*)*)(?:@(?P<revision>\w[\w./-]*))?",
    re.ASCII,
)


class HubReference(NamedTuple):
    """A folder in a repository of the Hugging Face Hub, at a branch, a tag or a commit; None is `main`."""

    repo: str
    path: str
    revision: str | None


def is_reference(path: str) -> bool:
    """Whether `path` is a reference, not a folder."""
    return path.startswith((WANDB, HUB))


def problem_of_reference(reference: str) -> str | None:
    """Why a reference cannot be fetched, judged only by its form; None if it can."""
    prefix = HUB if reference.startswith(HUB) else WANDB
    pattern = {WANDB: _ARTIFACT, HUB: _REPO}[prefix]
    if pattern.fullmatch(reference.removeprefix(prefix)) is None:
        return f"not of the form {FORMS[prefix]}"
    return missing_library() if prefix == HUB else None


def missing_library() -> str | None:
    """A message on how to install the Hub's client; None if it is installed."""
    if find_spec("huggingface_hub") is not None:
        return None
    return "huggingface_hub is not installed; `uv sync --extra hub` or `pip install 'remdm[hub]'` installs it"


def is_repository(name: str) -> bool:
    """Whether `owner/repo` names a whole repository of the Hub."""
    found = _REPO.fullmatch(name)
    return found is not None and not found["path"] and found["revision"] is None


def parse_hub_reference(reference: str) -> HubReference:
    """The parts of a well-formed `hf:owner/repo[/path][@revision]`."""
    found = _REPO.fullmatch(reference.removeprefix(HUB))
    assert found is not None, reference
    return HubReference(found["repo"], found["path"].strip("/"), found["revision"])
