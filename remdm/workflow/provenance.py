"""The provenance of a result, read only from the records on disk."""

from collections.abc import Iterator
from pathlib import Path

from remdm.base.errors import UserError
from remdm.workflow.record import read_record

INDENT = "  "


def chain(target: str) -> list[str]:
    """Lines that trace a result back through all its inputs.

    Args:
        target: a figure, a table, or any path in the folder of a run.

    Raises:
        UserError: it has no record.
    """
    path = Path(target)
    # All files of a figure share one record; a page with the same stem as a picture has its own.
    for own in (path.with_name(f"{name}.run.json") for name in (path.name, path.name.split(".")[0])):
        if (record := read_record(own)) is not None:
            runs = record.origin.inputs.items()
            shown = (line for folder, used in runs for line in _run_lines(_beside(path, folder), used, 1))
            return [f"{path}  digest {record.digest}", *shown]
    for folder in (path, *path.parents):
        if (folder / "run.json").exists():
            return [target, *_run_lines(folder, None, 1)]
    raise UserError(f"{target}: has no record beside it ({own.name}, or run.json of a run)")


def _run_lines(folder: Path, digest: str | None, depth: int, above: tuple[Path, ...] = ()) -> Iterator[str]:
    """A run, and below it the runs whose checkpoints it read.

    Args:
        digest: the run's digest when its result was used; None if unknown.
        above: the runs on the path to this one, each made from the next.

    Raises:
        UserError: a record is damaged, or names a run that was made from it.
    """
    here = INDENT * depth
    record = read_record(folder / "run.json")
    if record is None:
        yield f"{here}{folder}: its run.json is missing"
        return
    if folder in above:
        raise UserError(f"{folder / 'run.json'}: is the record of a run that was made from itself; delete it")
    commit = (record.git_commit or "no clone")[:11]
    fields = [f"seed {record.seed}  commit {commit}  digest {record.digest}"]
    if digest is not None and digest not in record.digests:
        fields.append(f"made again since then, when it was {digest}")
    if record.accepted:
        fields.append(f"of older code, accepted as current on {record.accepted[-1].at[:10]}")
    yield f"{here}{folder}  {'; '.join(fields)}"
    for key, used in record.origin.inputs.items():
        checkpoint = record.config.get(key)
        yield f"{here}{INDENT}{key}: {checkpoint}"
        upstream = _beside(folder, str(checkpoint)).parent
        if (upstream / "run.json").exists():
            yield from _run_lines(upstream, used, depth + 2, (*above, folder))


def _beside(known: Path, path: str) -> Path:
    """A path in the folder of results that contains `known`, which may have been moved as a whole."""
    parts = Path(path).parts
    for folder in known.parents:
        if folder.name == parts[0] and not Path(path).exists():
            return folder.joinpath(*parts[1:])
    return Path(path)
