"""A page that compares any runs, of the same form as the report (`explore.py`)."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from remdm.analysis.explore import ShownPolicy, explore_page
from remdm.analysis.formats import write_text
from remdm.analysis.policies import EvaluatedPolicy
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.style import series_look
from remdm.base.errors import UserError


def write_comparison(folders: Sequence[Path], output: Path) -> None:
    """Write the page.

    Args:
        folders: of finished runs of any stages. Those that differ only in their last part, `s<seed>`, are
            seeds of one policy; every other one is a policy of its own, labelled by the end of its path.

    Raises:
        UserError: one contains no finished run.
    """
    for folder in folders:
        if not (folder / "run.json").is_file():
            raise UserError(f"{folder}: has no run.json, so it is no folder of a finished run")
    results = read_results(list(map(str, folders)))
    title = f"{len(results)} {'run' if len(results) == 1 else 'runs'} compared"
    write_text(explore_page(title, compared_players(results), results, output, compared=True), output)


def compared_players(results: Iterable[Result]) -> list[ShownPolicy]:
    """Trainings and evaluations, each labelled by the shortest end of its path that no other has."""
    groups: dict[Path, list[Result]] = {}
    for result in results:
        folder = result.folder.absolute()
        groups.setdefault(folder.parent if folder.name == f"s{result.seed}" else folder, []).append(result)
    players = []
    for i, (folder, label) in enumerate(zip(groups, short_names(list(groups)), strict=True)):
        for (env, stage), runs in grouped(groups[folder], "env", "stage").items():
            if stage == "inference":
                # Its name decides whether it counts as an expert.
                policy = EvaluatedPolicy(env, f"{runs[0].config['policy']}-{label}", tuple(runs), label)
                players.append(ShownPolicy(env, label, series_look(i), policy=policy))
            elif any((run.folder / "metrics.parquet").is_file() for run in runs):
                players.append(ShownPolicy(env, label, series_look(i), tuple(runs)))
    return players


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest end of each path that no other of these has."""

    def ends(path: Path) -> list[str]:
        return ["/".join(path.parts[-count:]) for count in range(1, len(path.parts) + 1)]

    found = []
    for path in paths:
        others = {end for other in paths if other != path for end in ends(other)}
        found.append(next((end for end in ends(path) if end not in others), str(path)))
    return found
