"""The report: how good the planners of a pipeline are, how sure that is, and all that is behind it."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from remdm.analysis.explore import ShownPolicy, explore_page
from remdm.analysis.page import write_page
from remdm.analysis.policies import read_policies
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.runs import Unfinished
from remdm.analysis.style import label, looks

# Trainings by the names under which what they trained is evaluated.
TRAINED = {"ppo": "{name}", "offline": "offline-{name}", "online": "online-{name}"}


def draw(results: list[str], path: Path) -> None:
    """Write the report from files of results, and from the captions of the paper's figures."""
    captions = [Path(file) for file in results if Path(file).suffix == ".txt"]
    records = [file for file in results if Path(file).suffix != ".txt"]
    write_report(records, [caption.with_suffix(".png") for caption in captions], path.with_suffix(".html"))


def write_report(
    records: list[str], figures: list[Path], output: Path, unfinished: Sequence[Unfinished] = ()
) -> None:
    """Write the report from the results of jobs.

    Args:
        records: files of the folders of trainings, of collecting and of evaluations.
        figures: the PNGs of the paper's figures, each with its caption beside it.
        output: the page.
        unfinished: the jobs that have no results yet.
    """
    results = read_results(records)
    players = find_players(results)
    write_page(
        explore_page(
            "Discrete-diffusion planners in Craftax", players, results, output, unfinished,
            experts=_experts(results, players), files=_paper_files(figures),
        ),
        output,
    )  # fmt: skip


def find_players(results: Sequence[Result]) -> list[ShownPolicy]:
    """The policies of a pipeline: the trainings and evaluations of one name belong together."""
    players = []
    policies = read_policies([str(result.folder) for result in results if result.stage == "inference"])
    for env, runs in grouped(results, "env").items():
        played = {policy.name: policy for policy in policies if policy.env == env}
        trained: dict[str, list[Result]] = {}
        for result in runs:
            if result.stage in TRAINED:
                trained.setdefault(TRAINED[result.stage].format(name=result.name), []).append(result)
        for name, look in looks([*played, *trained]).items():
            players.append(
                ShownPolicy(env, label(name), look, tuple(trained.get(name, ())), played.get(name))
            )
    return players


def _experts(results: Sequence[Result], players: Sequence[ShownPolicy]) -> str:
    trained = [_expert(result) for result in results if result.stage == "ppo"]
    policies = (player.policy for player in players if player.policy is not None)
    given = (_external(result) for policy in policies if policy.role == "expert" for result in policy.results)
    sentences = trained or list(dict.fromkeys(given))
    text = "".join(f"<li>{sentence}</li>" for sentence in sentences)
    return f"<details><summary>The expert</summary><ul>{text}</ul></details>" if text else ""


def _expert(result: Result) -> str:
    """Who the expert is, in a sentence."""
    keys = result.config
    _, returns = result.curve("env/episode_return")
    frames = int(result.metrics["frames"][-1])
    rose = ""
    if returns.size:  # a very short run may complete no episode
        rose = f": its mean return in training rose from {returns[0]:.1f} to {returns[-10:].mean():.1f}"
    return html.escape(
        f"{keys['ppo_model_type']}, {keys['layer_size']} wide, trained by PPO on {frames:,} frames of "
        f"{result.env} (seed {result.seed}){rose}. It plays, and teaches offline BC, by drawing from its "
        f"policy; DAgger's labels are its most probable actions unless dagger_expert_deterministic is false."
    )


def _external(result: Result) -> str:
    """Who the expert is where none was trained, in a sentence."""
    path = result.config["checkpoint_path"]
    return html.escape(f"In {result.env} it was not trained here: it is {path}.")


def _paper_files(figures: Iterable[Path]) -> str:
    """The figures of the paper by their places beside the page, with their captions."""
    rows = [
        f'<li><a href="figures/{html.escape(path.name)}">{html.escape(path.name)}</a> and '
        f'<a href="figures/{html.escape(path.stem)}.pdf">{html.escape(path.stem)}.pdf</a>: '
        f"{html.escape(path.with_suffix('.txt').read_text(encoding='utf-8').strip())}</li>"
        for path in figures
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""
