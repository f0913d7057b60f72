"""The report: an HTML page that shows the figures beside it, without a network."""

import html
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from remdm.analysis.results import Result, read_results
from remdm.analysis.style import role
from remdm.analysis.table import policy_table
from remdm.config.files import whole_file

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ReMDM planners in Craftax</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid #eee; }
th { border-bottom: 2px solid #bbb; } th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; } figure { margin: 1.5rem 0; } figcaption, .note { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; }
</style></head><body>
<h1>Discrete-diffusion planners in Craftax</h1>
<p><strong>$headline</strong></p>
<h2>The expert</h2>
<p>$expert</p>
<h2>Who plays how well</h2>
<div class="wide">$policies</div>
<p class="note">$interval The published figures were reached with 1e9 frames (expert) and 1e8 frames
(planners); they are for orientation and comparable only at the scale <code>paper</code>.</p>
$returns
<h2>What they unlock</h2>
$achievements
<h2>How they learned</h2>
$learning
<h2>What it took</h2>
<div class="wide">$costs</div>
<p class="note">Compilation stands apart from running; frames per second count running alone. Where a
compiled program was found in the cache, compilation is its loading.</p>
<h2>How to repeat it</h2>
<div class="wide">$provenance</div>
</body></html>
""")


def write_report(trainings: list[str], evaluations: list[str], output: Path) -> None:
    """Write the report from the results of trainings and evaluations; it shows the figures beside it.

    Args:
        trainings: files of the folders of trainings and of collecting.
        evaluations: files of the folders of evaluations.
    """
    evaluated, trained = read_results(evaluations), read_results(trainings)
    several = any(result.seed != evaluated[0].seed for result in evaluated)
    page = PAGE.substitute(
        headline=_headline(evaluations),
        expert=" ".join(
            [_expert(result) for result in trained if result.stage == "ppo"]
            or dict.fromkeys(_external(result) for result in evaluated if role(result.name) == "expert")
        ),
        policies=_policies(evaluations),
        interval="In brackets the smallest and largest mean of a seed."
        if several
        else "In brackets the 95 % bootstrap interval over completed episodes, of one training seed.",
        returns=_figure("returns", "Mean return of all completed episodes."),
        achievements=_figure("achievements", "Share of episodes in which each achievement is unlocked."),
        learning=_figure(
            "learning",
            "The expert's return in training; the planners' reward in validation rollouts from fresh worlds, "
            "and their accuracy on masked actions.",
        ),
        costs=_costs([*trained, *evaluated]),
        provenance=_provenance([*trained, *evaluated]),
    )
    with whole_file(output) as partial:
        partial.write_text(page, encoding="utf-8")


def _headline(evaluations: list[str]) -> str:
    """The result in a sentence for each game."""

    def compared(row: dict[str, Any]) -> bool:
        return row["share_of_expert"] is not None and not row["policy"].startswith("Expert")

    sentences = []
    for (env,), rows in policy_table(evaluations).group_by("env", maintain_order=True):
        parts = [
            f"{row['policy']} {row['return']:.2f}"
            + (f" ({100 * row['share_of_expert']:.0f} % of the expert)" if compared(row) else "")
            for row in rows.iter_rows(named=True)
        ]
        sentences.append(f"In {env}, the mean return of an episode is: {', '.join(parts)}.")
    return html.escape(" ".join(sentences))


def _expert(result: Result) -> str:
    """Who the expert is, in a sentence."""
    keys = result.run["config"]
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
    return html.escape(
        f"In {result.env} it was not trained here: it is {result.run['config']['checkpoint_path']}."
    )


def _policies(evaluations: list[str]) -> str:
    head = [
        "Policy",
        "Return",
        "of expert",
        "of maximum",
        "Achievements",
        "Length",
        "Episodes",
        "Seeds",
        "Published",
    ]
    rows = [
        [
            row["policy"],
            f"{row['return']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            "" if row["share_of_expert"] is None else f"{100 * row['share_of_expert']:.0f} %",
            f"{100 * row['share_of_maximum']:.1f} %",
            f"{row['achievements']:.2f}",
            f"{row['length']:.0f}",
            f"{row['episodes']:,}",
            str(row["seeds"]),
            row["published"] or "",
        ]
        for row in policy_table(evaluations).iter_rows(named=True)
    ]
    return _table(head, rows)


def _costs(results: Iterable[Result]) -> str:
    head = ["Job", "Minutes", "compiling (s)", "Frames/s", "Peak memory (MB)"]
    rows = []
    for result in results:
        run = result.run
        rows.append(
            [
                f"{result.stage} {result.name} s{result.seed}",
                f"{run['wall_seconds'] / 60:.1f}",
                f"{run['compile_seconds']:.0f}",
                f"{run['frames_per_second']:,.0f}",
                f"{run['peak_memory_mb']:,}",
            ]
        )
    return _table(head, rows)


def _provenance(results: Iterable[Result]) -> str:
    head = ["Job", "Commit", "Digest", "jax", "craftax", "Device"]
    rows = [
        [
            f"{result.stage} {result.name} s{result.seed}",
            (result.run["git_commit"] or "no clone")[:10],
            result.run["digest"],
            result.run["packages"]["jax"],
            result.run["packages"]["craftax"],
            f"{result.run['device']['count']} × {result.run['device']['kind']}, {result.run['cpus']} CPUs",
        ]
        for result in results
    ]
    return _table(head, rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(tag: str, cells: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line("th", head) + "".join(line("td", row) for row in rows) + "</table>"


def _figure(name: str, caption: str) -> str:
    """A figure by its place beside the report: redrawn, it is shown as it is now."""
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="figures/{name}.png"><figcaption>{text}</figcaption></figure>'
