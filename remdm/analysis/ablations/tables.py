"""The suite's tables; a missing value is null, never zero."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from remdm.analysis.ablations.actions import ActionUse, action_use, entropy, gini, kl, total_variation
from remdm.analysis.ablations.hypotheses import LOST, Finding, achievement_rates, last, share_negative, trend
from remdm.analysis.ablations.published import published_scores
from remdm.analysis.ablations.runs import BIN_NORM, LAYER_NORM, Suite
from remdm.analysis.ablations.standing import MISSING, NOT_RUN, VERDICTS, Standings, collapse_of, mean, std
from remdm.analysis.formats import as_frame, with_interval, write_table
from remdm.config.arms import GROUPS

# For each column, a metric and its summary over training, which is averaged over an arm's seeds.
Summaries = dict[str, tuple[str, Callable[[np.ndarray], float]]]

GRADIENTS: Summaries = {
    "cosine": ("diag/gradient_cosine", np.mean),
    "cosine_min": ("diag/gradient_cosine", np.min),
    "cosine_negative": ("diag/gradient_cosine", share_negative),
    "rl_norm": ("diag/rl_grad_norm", np.mean),
    "rl_norm_trend": ("diag/rl_grad_norm", trend),
    "bc_norm": ("diag/bc_grad_norm", np.mean),
    "pcgrad_removed": ("diag/pcgrad_removed_share", np.mean),
    "pcgrad_tensors": ("diag/pcgrad_conflicting_tensors", np.mean),
    "step_norm": ("diffusion/grad_norm", np.mean),
    "effective_batch": ("train/effective_batch", np.mean),
    "win_rate": ("train/win_rate", np.mean),
    "empty_batches": ("train/empty_batches", np.sum),
}
NOISE_LEVELS: Summaries = {
    "low_t_norm": ("diag/t_low_grad_norm", np.mean),
    "high_t_norm": ("diag/t_high_grad_norm", np.mean),
    "low_high_cosine": ("diag/t_low_high_cosine", np.mean),
    **{f"kl_{part}_t": (f"diag/kl_{part}_t", last) for part in ("low", "mid", "high")},
}
DRIFT: Summaries = {
    "kl_mean": ("diag/kl", np.mean),
    "kl_final": ("diag/kl", last),
    "kl_max": ("diag/kl", np.max),
    "cka_final": ("diag/cka", last),
}
REPRESENTATION: Summaries = {
    "cka_first": ("diag/cka", lambda values: float(values[0])),
    "cka_final": ("diag/cka", last),
    "cka_min": ("diag/cka", np.min),
}
# Entropy and divergences in nats.
ACTIONS: dict[str, Callable[[ActionUse], float]] = {
    "entropy_before": lambda use: entropy(use.before),
    "entropy_after": lambda use: entropy(use.after),
    "effective_before": lambda use: float(np.exp(entropy(use.before))),
    "effective_after": lambda use: float(np.exp(entropy(use.after))),
    "gini_before": lambda use: gini(use.before),
    "gini_after": lambda use: gini(use.after),
    "js": lambda use: use.divergence,
    "kl_after_before": lambda use: kl(use.after, use.before),
    "total_variation": lambda use: total_variation(use.before, use.after),
    "js_pairs": lambda use: use.divergence_of_pairs,
}


def write_tables(suite: Suite, standings: Standings, findings: list[Finding], folder: Path) -> None:
    """Write every table as CSV, LaTeX and Markdown."""
    bins = {f"norm_{k}": (BIN_NORM + k, np.mean) for k in suite.bins}
    layers = {layer: (LAYER_NORM + layer, np.mean) for layer in suite.columns(LAYER_NORM)}
    tables = {
        "results": results(suite, standings),
        "groups": groups(suite, standings),
        "gradients": summaries(suite, GRADIENTS),
        "noise_levels": summaries(suite, bins | NOISE_LEVELS),
        "forgetting": forgetting(suite, standings),
        "representation": summaries(suite, REPRESENTATION | layers),
        "actions": actions(suite),
        "achievements": achievements(suite),
        "hypotheses": hypotheses(standings, findings),
        "evidence": evidence(findings),
        "arms": arms(standings),
    }
    for name, frame in tables.items():
        write_table(frame, folder / name)


def summaries(suite: Suite, columns: Summaries) -> pl.DataFrame:
    """A row of summaries for each requested arm."""
    return as_frame(summary(suite, arm, columns) for arm in suite.arms)


def summary(suite: Suite, arm: str, columns: Summaries) -> dict[str, Any]:
    """Summaries over training, averaged over an arm's seeds."""
    return {"arm": arm} | {title: suite.average(arm, name, of) for title, (name, of) in columns.items()}


def results(suite: Suite, standings: Standings) -> pl.DataFrame:
    """Score, spread, differences and verdict of every arm."""
    return as_frame(
        {
            "group": s.entry.group,
            "arm": s.name,
            "seeds": len(suite.of(s.name)),
            "scored": len(s.scores),
            "score": s.score,
            "std": s.std,
            **with_interval("to_pretrained", s.to_pretrained),
            **with_interval("to_baseline", s.to_baseline),
            "p": s.p,
            "p_floor": s.floor,
            "verdict": s.verdict,
        }
        for s in standings.arms
    )


def arms(standings: Standings) -> pl.DataFrame:
    """The hypothesis and the question of each arm, and its verdict."""
    return as_frame(
        {
            "group": s.entry.group,
            "arm": s.name,
            "hypothesis": s.entry.hypothesis,
            "tests_whether": s.entry.tests,
            "verdict": s.verdict,
        }
        for s in standings.arms
    )


def groups(suite: Suite, standings: Standings) -> pl.DataFrame:
    """A row for each group: its arms' mean score, best and worst, verdicts, and the published mean."""
    published = published_scores(suite)
    rows = []
    for letter, title in GROUPS.items():
        members = [s for s in standings.arms if s.entry.group == letter]
        scored = [s for s in standings.scored if s.entry.group == letter]
        means = np.array([s.score for s in scored], float)
        rows.append(
            {
                "group": letter,
                "title": title,
                "arms": len(members),
                "scored": len(scored),
                "score": mean(means),
                "std": std(means),
                "to_baseline": mean(np.array([s.to_baseline.value for s in scored if s.to_baseline], float)),
                "best": scored[0].name if scored else None,
                "worst": scored[-1].name if scored else None,
                **{v: sum(s.verdict == v for s in members) for v in VERDICTS},
                "without_score": sum(s.verdict in (MISSING, NOT_RUN) for s in members),
                "published": published.get(letter),
            }
        )
    return as_frame(rows)


def forgetting(suite: Suite, standings: Standings) -> pl.DataFrame:
    """The distance of each arm from the pretrained planner, its collapse, and achievements lost and won."""

    def row(arm: str) -> dict[str, Any]:
        change, fall = standings[arm].to_pretrained, collapse_of(suite, standings, arm)
        rates = [after - before for before, after in achievement_rates(suite, arm).values()]
        return summary(suite, arm, DRIFT) | {
            "to_pretrained": change and change.value,
            "collapse_iteration": fall.iteration,
            "lowest_score": fall.least,
            "lowest_iteration": fall.least_iteration,
            "recovered": fall.recovered,
            "achievements_lost": sum(rate < -LOST for rate in rates) if rates else None,
            "achievements_won": sum(rate > LOST for rate in rates) if rates else None,
        }

    return as_frame(row(arm) for arm in suite.arms)


def actions(suite: Suite) -> pl.DataFrame:
    """Statistics of the actions played before and after."""
    uses = {arm: action_use(suite, arm) for arm in suite.arms}
    return as_frame(
        {"arm": arm} | ({name: of(use) for name, of in ACTIONS.items()} if use else {})
        for arm, use in uses.items()
    )


def achievements(suite: Suite) -> pl.DataFrame:
    """Share of episodes with each achievement, of the pretrained planner and at the end."""
    rows = [
        {"arm": arm, "achievement": name, "pretrained": before, "final": after, "change": after - before}
        for arm in suite.arms
        for name, (before, after) in achievement_rates(suite, arm).items()
    ]
    silent = [{"arm": arm} for arm in suite.arms if arm not in {row["arm"] for row in rows}]
    return as_frame([*rows, *silent])


def hypotheses(standings: Standings, findings: list[Finding]) -> pl.DataFrame:
    """The ranking of the hypotheses, with the arms that address each."""
    ran = [s for s in standings.arms if s.verdict != NOT_RUN]
    return as_frame(
        {
            "rank": rank,
            "hypothesis": each.hypothesis,
            "verdict": each.verdict,
            "speak_for": each.supporting,
            "measured": each.measured,
            "indicators": len(each.evidence),
            "arms": ", ".join(f"{s.name} {s.verdict}" for s in ran if s.entry.hypothesis == each.hypothesis),
        }
        for rank, each in enumerate(findings, 1)
    )


def evidence(findings: list[Finding]) -> pl.DataFrame:
    """Every indicator with its value and threshold, by rank of the hypothesis."""
    words = {True: "for", False: "against", None: "not measured"}
    return as_frame(
        {
            "hypothesis": finding.hypothesis,
            "quantity": e.quantity,
            "value": e.value,
            "speaks_for_it_if": f"{e.sign} {e.threshold:g}",
            "speaks": words[e.speaks_for],
        }
        for finding in findings
        for e in finding.evidence
    )
