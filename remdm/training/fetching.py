"""Checkpoints from elsewhere: artifacts of Weights & Biases, and repositories of the Hugging Face Hub."""

from pathlib import Path

from remdm.config.references import HUB
from remdm.training import hub, tracking


def fetch(reference: str, download_dir: Path) -> Path:
    """Download the checkpoint of a reference unless it is here already; returns its folder.

    Args:
        download_dir: for artifacts of W&B; the Hub's client has a cache of its own.

    Raises:
        UserError: the reference is malformed, or the checkpoint is missing, unreachable or not trusted.
    """
    return hub.fetch(reference) if reference.startswith(HUB) else tracking.fetch(reference, download_dir)
