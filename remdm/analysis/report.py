"""The report: an HTML page that shows the figures beside it, without a network."""

import html
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from remdm.analysis.formats import as_frame, as_html
from remdm.analysis.policies import Policy, read_policies, share_of_expert
from remdm.analysis.published import remark
from remdm.analysis.results import Result, grouped, read_results
from remdm.analysis.statistics import Estimate
from remdm.analysis.tables import TABLES
from remdm.base.files import whole_file

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ReMDM planners in Craftax</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #eee; }
th { border-bottom: 2px solid #bbb; } .n { text-align: right; white-space: nowrap; }
summary { cursor: pointer; color: #555; }
img { max-width: 100%; } figure { margin: 1.5rem 0; } figcaption, .note { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; }
</style></head><body>
<h1>Discrete-diffusion planners in Craftax</h1>
<p><strong>$headline</strong></p>
<h2>The expert</h2>
<p>$expert</p>
<h2>Evaluation results</h2>
$policies
$returns
$profiles
<h3>Pairwise comparisons</h3>
$improvement
$gap
$published
<h2>Achievement rates</h2>
$achievements
<details><summary>The same as a table</summary>$rates</details>
<h2>Learning curves</h2>
$learning
$dagger
<h2>Model-size scaling</h2>
$scaling
<h2>Compute cost</h2>
$costs
$jobs
<h2>Provenance</h2>
<div class="wide">$provenance</div>
</body></html>
""")


def draw(results: list[str], path: Path) -> None:
    """Write the report from files of results, and from the captions of the paper's figures."""
    captions = [Path(file) for file in results if Path(file).suffix == ".txt"]
    records = [file for file in results if Path(file).suffix != ".txt"]
    write_report(records, [caption.with_suffix(".png") for caption in captions], path.with_suffix(".html"))


def write_report(records: list[str], figures: list[Path], output: Path) -> None:
    """Write the report from the results of all jobs.

    Args:
        records: files of the folders of trainings, of collecting and of evaluations.
        figures: the PNGs of the paper's figures, each with its caption beside it.
        output: the page.
    """
    results = read_results(records)
    evaluations = [str(result.folder) for result in results if result.stage == "inference"]
    policies = read_policies(evaluations)
    trained = [_expert(result) for result in results if result.stage == "ppo"]
    experts = [policy for policy in policies if policy.role == "expert"]
    given = (_external(result) for expert in experts for result in expert.results)
    page = PAGE.substitute(
        {"gap": ""} | {figure.stem: _figure(figure) for figure in figures},
        headline=_headline(policies),
        expert=" ".join(trained or dict.fromkeys(given)),
        policies=_table("policies", evaluations),
        improvement=_table("improvement", evaluations),
        published=_published(policies, evaluations),
        rates=_table("achievements", evaluations),
        jobs=_table("costs", records),
        provenance=_provenance(results),
    )
    with whole_file(output) as partial:
        partial.write_text(page, encoding="utf-8")


def _headline(policies: list[Policy]) -> str:
    """The result in a sentence for each game."""
    sentences = []
    for env, rivals in grouped(policies, "env").items():
        parts = []
        for policy in rivals:
            share = None if policy.role == "expert" else share_of_expert(policy, rivals)
            parts.append(f"{policy.label} {policy.mean().value:.2f}{_of_expert(share)}")
        sentences.append(f"In {env}, the mean return of an episode is: {', '.join(parts)}.")
    return html.escape(" ".join(sentences))


def _of_expert(share: Estimate | None) -> str:
    if share is None:
        return ""
    value, low, high = (f"{100 * bound:.0f}" for bound in share)
    return f" ({value} % [{low}, {high}] of the expert)"


def _published(policies: list[Policy], evaluations: list[str]) -> str:
    """Published values under a heading, if any is comparable."""
    return f"<h3>Published results</h3>{_table('published', evaluations)}" if remark(policies) else ""


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


def _provenance(results: Iterable[Result]) -> str:
    rows = [
        {
            "job": f"{result.stage} {result.name} s{result.seed}",
            "commit": result.commit,
            "accepted at": _accepted(result.run),
            "digest": result.run["digest"],
            "jax": result.run["packages"]["jax"],
            "craftax": result.run["packages"]["craftax"],
            "device": result.device,
        }
        for result in results
    ]
    return as_html(as_frame(rows))


def _accepted(run: dict[str, Any]) -> str:
    """The commits at which a user let the result count as current, though older code had made it."""
    return ", ".join((trace["git_commit"] or "no clone")[:10] for trace in run.get("accepted", []))


def _table(name: str, jobs: list[str]) -> str:
    """A table of the paper, with its note."""
    table = TABLES[name]
    note = f'<p class="note">{html.escape(table.note(jobs))}</p>'
    return f'<div class="wide">{as_html(table.frame(jobs), table.columns)}</div>{note}'


def _figure(path: Path) -> str:
    """A figure of the paper by its place beside the page, with its caption."""
    text = html.escape(path.with_suffix(".txt").read_text(encoding="utf-8").strip())
    image = f'<img alt="{html.escape(path.stem)}" src="figures/{html.escape(path.name)}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"
