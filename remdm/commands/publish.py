"""Publish trained policies, as folders or as a repository of the Hugging Face Hub."""

import argparse
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from remdm.base.checkpoint_folder import METADATA, read_metadata
from remdm.base.errors import UserError
from remdm.base.files import read_json, write_json
from remdm.base.scrub import scrubbed
from remdm.config.references import HUB, is_repository
from remdm.config.stages import STAGES
from remdm.training.hub import BEST, EVALUATIONS, require_token, upload
from remdm.workflow.digest import content_digest
from remdm.workflow.record import Record, read_record

# The metadata from which a policy is rebuilt; a checkpoint has more, such as the id of its W&B run.
DESCRIBING = ("kind", "env_name", "network", "update_step", "frames")
COMMITTED = "commit_success.txt"  # of Orbax; contains the path on this machine, and is never read


def run_publish(arguments: argparse.Namespace) -> None:
    """Prepare what is published of one or several results, then print, keep or upload it.

    Raises:
        UserError: a result has no checkpoint, or the destination is missing or invalid.
    """
    repo, output = arguments.repo, arguments.output
    if (repo is None) == (output is None):
        raise UserError("publish: give either --repo OWNER/NAME or --output DIR")
    if repo is not None and not is_repository(repo):
        raise UserError(f"--repo {repo}: not of the form OWNER/NAME")
    if repo is not None and len(arguments.results) > 1:
        raise UserError(f"--repo {repo}: is for one result, but {len(arguments.results)} are given")
    records = {result: _training_record(result) for result in arguments.results}
    if repo is not None and not arguments.dry_run:
        require_token()
    for result, record in records.items():
        _publish(result, record, arguments)


def _publish(result: Path, record: Record, arguments: argparse.Namespace) -> None:
    name, output = _policy_name(result, record), arguments.output
    address = f"{HUB}{arguments.repo}" if output is None else str(output / name)
    if output is not None and not arguments.dry_run:
        output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=None if arguments.dry_run else output, prefix=".publish-") as scratch:
        staged = Path(scratch, name)
        _stage_policy(result, record, staged, name, address, arguments.minimal)
        if arguments.dry_run:
            print(*_tree(staged), "", (staged / "README.md").read_text(encoding="utf-8"), sep="\n")
        elif output is not None:
            _replace(output / name, staged)
            print(address)
        else:
            print(upload(staged, arguments.repo, arguments.private))


def _training_record(result: Path) -> Record:
    """The record of a finished training.

    Raises:
        UserError: the folder has no record, or its stage leaves no checkpoint.
    """
    record = read_record(result / "run.json")
    if record is None or record.origin.stage not in STAGES:
        raise UserError(
            f"{result}: contains no run.json of a finished training; name the folder of its results"
        )
    if "checkpoint" not in STAGES[record.origin.stage].outputs:
        raise UserError(f"{result}: is a result of {record.origin.stage}, which leaves no checkpoint")
    return record


def _policy_name(result: Path, record: Record) -> str:
    """The name of the policy's evaluation in the pipeline; only the stage for a folder of another layout."""
    stage, folder = record.origin.stage, result.resolve()
    if stage == "ppo":
        return str(record.config["ppo_model_type"])
    return f"{stage}-{folder.parent.name}" if folder.parents[1].name == stage else stage


def _stage_policy(result: Path, record: Record, folder: Path, name: str, address: str, minimal: bool) -> None:
    """Write what is published of a training, without private data of this machine.

    Args:
        result: the folder of a finished training.
        address: the address by which others load it; an absolute path is not shown.
        minimal: leave out the picture and the best checkpoint.

    Raises:
        UserError: the checkpoint or a record is damaged.
    """
    # Imported late, because it imports polars.
    from remdm.analysis.card import write_card

    address = name if Path(address).is_absolute() else address
    _stage_checkpoint(result / "checkpoint", folder)
    if not minimal and (result / BEST).is_dir():
        _stage_checkpoint(result / BEST, folder / BEST)
    _stage_record(result, folder)
    for evaluation in _made_from(result, record, "inference"):
        target = folder / EVALUATIONS / evaluation.parent.name / evaluation.name
        _stage_record(evaluation, target)
        shutil.copy(evaluation / "summary.json", target)
    films = (film / "episode.gif" for film in _made_from(result, record, "film"))
    picture = next((path for path in (*films, result / "curves.png") if path.is_file() and not minimal), None)
    if picture is not None:
        shutil.copy(picture, folder)
    write_card(folder, name, address, picture.name if picture else None)


def _stage_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy what playing needs of a checkpoint: its parameters and the description of its network."""
    # Imported late, because it imports JAX: mistakes in the call are reported at once.
    from remdm.training.checkpoint import CHECKSUMS, verify

    metadata = read_metadata(checkpoint)
    if missing := [key for key in DESCRIBING if key not in metadata]:
        raise UserError(f"checkpoint {checkpoint}: has no {' and no '.join(missing)} in {METADATA}")
    verify(checkpoint, "params", needed=True)
    shutil.copytree(checkpoint / "params", folder / "params", ignore=shutil.ignore_patterns(COMMITTED))
    write_json(folder / METADATA, {key: metadata[key] for key in DESCRIBING})
    sums = {
        name: checksum
        for name, checksum in read_json(checkpoint / CHECKSUMS).items()
        if name.startswith("params/") and not name.endswith(COMMITTED)
    }
    own = hashlib.sha256((folder / METADATA).read_bytes()).hexdigest()
    write_json(folder / CHECKSUMS, {METADATA: own, **sums})


def _stage_record(result: Path, folder: Path) -> None:
    """Write `run.json` without paths, names of hosts, credentials and the id of its W&B run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", scrubbed({**read_json(result / "run.json"), "wandb_run_id": None}))


def _made_from(result: Path, record: Record, stage: str) -> Iterator[Path]:
    """The results of a stage that were made from a training's last checkpoint, according to their records.

    These contain the digest of the training or, if it was given by path, that of the checkpoint's files.
    """
    digests = {*record.digests, content_digest("publish", str(result / "checkpoint"))}
    around = next((folder for folder in result.resolve().parents[:4] if (folder / stage).is_dir()), None)
    for path in sorted(around.glob(f"{stage}/*/*/run.json")) if around else ():
        found = read_record(path)
        if found is not None and found.origin.inputs.get("checkpoint_path") in digests:
            yield path.parent


def _replace(target: Path, staged: Path) -> None:
    """Move a folder to its destination, replacing an earlier publication but nothing else."""
    if target.exists() and not (target / METADATA).is_file():
        raise UserError(f"{target}: exists already, and contains no {METADATA} of an earlier publication")
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)


def _tree(folder: Path) -> list[str]:
    """The files of a folder with their sizes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{path.stat().st_size:>12,}  {path.relative_to(folder)}" for path in files]
