"""Downloads checkpoints from the Hugging Face Hub, and publishes them there.

Its client, `huggingface_hub`, is an extra. It reads HF_ENDPOINT, HF_HUB_CACHE, HF_HUB_OFFLINE and the user's
token by itself; this module handles no token.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from remdm.base.errors import UserError
from remdm.config.references import missing_library, parse_hub_reference, problem_of_reference

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger("remdm")

BEST = "checkpoint_best"
EVALUATIONS = "evaluations"
PICTURES = ("*.gif", "*.png")
# Files that can execute code when read. Nothing in remdm reads them.
PICKLES = tuple(f"*.{suffix}" for suffix in ("pkl", "pickle", "pt", "pth", "bin", "ckpt", "joblib", "dill"))
LOGIN = "`hf auth login` stores a token, or set HF_TOKEN"


def fetch(reference: str) -> Path:
    """Download the folder `hf:owner/repo[/path][@revision]` into the client's cache, unless it is there.

    Without a path, it is the whole repository except pictures and the best checkpoint. Files that were
    downloaded before an interruption are not downloaded again.

    Returns:
        The complete folder; its files are links into the cache.

    Raises:
        UserError: the reference is malformed, or the folder is missing or unreachable.
    """
    if problem := problem_of_reference(reference):
        raise UserError(f"{reference}: {problem}")
    repo, path, revision = parse_hub_reference(reference)
    logger.info("Hugging Face Hub: fetching %s", reference)
    with _client(f"{reference}: cannot be fetched") as api:
        root = api.snapshot_download(
            repo,
            revision=revision,
            allow_patterns=f"{path}/*" if path else None,
            ignore_patterns=[*PICKLES, *(() if path else (*PICTURES, f"{BEST}/*"))],
        )
    folder = Path(root, path)
    if not folder.is_dir():
        raise UserError(f"{reference}: the repository has no folder {path} there")
    logger.info("Hugging Face Hub: commit %s, in %s", Path(root).name, folder)
    return folder


def upload(folder: Path, repo: str, private: bool = False) -> str:
    """Make a folder the content of a repository, which is created if there is none; returns its address.

    Files of an earlier publication in remdm's own folders are deleted; other files of the repository stay.

    Raises:
        UserError: no client, no token, no permission to write, or the Hub is unreachable.
    """
    require_token()
    with _client(f"{repo}: cannot be published") as api:
        address = api.create_repo(repo, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Publish with remdm",
            delete_patterns=["params/*", f"{BEST}/*", f"{EVALUATIONS}/*", *PICTURES],
        )
    return str(address)


def require_token() -> None:
    """Refuse to publish without the client or a token, before anything is prepared.

    Raises:
        UserError: one of them is missing.
    """
    if problem := missing_library():
        raise UserError(f"publish: {problem}")
    from huggingface_hub import get_token

    if get_token() is None:
        raise UserError(f"publish: no token for the Hugging Face Hub; {LOGIN}")


@contextmanager
def _client(what: str) -> Iterator["HfApi"]:
    """The client; its errors become one line that starts with `what`."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    try:
        with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
            yield HfApi(library_name="remdm")
    except Exception as error:  # of the client, its HTTP library, the network or the disk
        raise UserError(f"{what}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    from huggingface_hub import constants, errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or a private one; {LOGIN}"
    if status in (401, 403):
        return f"the token is refused ({status}); {LOGIN}"
    if isinstance(error, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return f"it is not in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set"
    line = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"\bhf_\w+|(?<=//)[^/\s]*@", "***", line)
