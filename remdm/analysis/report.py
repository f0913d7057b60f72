"""The report: the results of a pipeline's planners, their uncertainty, and the runs that they come from."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from remdm.analysis.explore import ShownPolicy, explore_page
from remdm.analysis.formats import write_text
from remdm.analysis.policies import evaluated_policies
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.runs import Unfinished
from remdm.analysis.style import label, looks

TRAININGS = ("ppo", "offline", "online")


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
        figures: the PNGs of the paper's figures, each with its caption in a text file next to it.
        output: the page.
        unfinished: the jobs that have no results yet.
    """
    results = read_results(records)
    players = find_players(results)
    page = explore_page(
        "Discrete-diffusion planners in Craftax", players, results, output, unfinished,
        experts=_experts(results, players), files=_paper_files(figures),
    )  # fmt: skip
    write_text(page, output)


def find_players(results: Sequence[Result]) -> list[ShownPolicy]:
    """The policies of a pipeline, each with its trainings and its evaluations."""
    players = []
    for env, runs in grouped(results, "env").items():
        played = {policy.name: policy for policy in evaluated_policies(runs)}
        trained = grouped((result for result in runs if result.stage in TRAININGS), "policy")
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
    """A sentence on an expert that was trained."""
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
    """A sentence on an expert that was not trained here."""
    path = result.config["checkpoint_path"]
    return html.escape(f"In {result.env} it was not trained here: it is {path}.")


def _paper_files(figures: Iterable[Path]) -> str:
    """Links to the figures of the paper, which are in `figures/` next to the page, with their captions."""
    rows = [
        f'<li><a href="figures/{html.escape(path.name)}">{html.escape(path.name)}</a> and '
        f'<a href="figures/{html.escape(path.stem)}.pdf">{html.escape(path.stem)}.pdf</a>: '
        f"{html.escape(path.with_suffix('.txt').read_text(encoding='utf-8').strip())}</li>"
        for path in figures
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""
