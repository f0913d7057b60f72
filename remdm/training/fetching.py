"""Checkpoints from elsewhere: artifacts of Weights & Biases, and repositories of the Hugging Face Hub."""

from pathlib import Path

from remdm.config.references import HUB
from remdm.training import hub, tracking


def fetch(reference: str, download_dir: Path) -> Path:
    """Bring what a reference names to this machine, unless it is there; returns its folder.

    Args:
        download_dir: for artifacts of W&B; the Hub's client has a cache of its own.

    Raises:
        UserError: it is malformed, there is no such checkpoint, no way to it, or it is not to be trusted.
    """
    return hub.fetch(reference) if reference.startswith(HUB) else tracking.fetch(reference, download_dir)
