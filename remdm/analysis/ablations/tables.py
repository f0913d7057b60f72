"""The suite's tables; a missing value is null, never zero."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from remdm.analysis.ablations.actions import (
    action_use,
    entropy,
    gini,
    jensen_shannon,
    kl,
    total_variation,
)
from remdm.analysis.ablations.hypotheses import (
    LOST,
    Finding,
    achievement_rates,
    last,
    share_negative,
)
from remdm.analysis.ablations.published import published_scores
from remdm.analysis.ablations.runs import BIN_NORM, LAYER_NORM, Suite
from remdm.analysis.ablations.significance import COLLAPSE, IMPROVEMENT, NEUTRAL
from remdm.analysis.ablations.standing import MISSING, NOT_RUN, Standings, difference, mean
from remdm.analysis.formats import write_table
from remdm.config.arms import GROUPS


def write_tables(suite: Suite, standings: Standings, findings: list[Finding], folder: Path) -> None:
    """Write every table as CSV, LaTeX and Markdown."""
    tables = {
        "results": results(suite, standings),
        "groups": groups(suite, standings),
        "gradients": gradients(suite),
        "noise_levels": noise_levels(suite),
        "forgetting": forgetting(suite, standings),
        "representation": representation(suite),
        "actions": actions(suite),
        "achievements": achievements(suite),
        "hypotheses": hypotheses(standings, findings),
        "evidence": evidence(findings),
        "arms": arms(standings),
    }
    for name, frame in tables.items():
        write_table(frame, folder / name)


def results(suite: Suite, standings: Standings) -> pl.DataFrame:
    """Score, spread, differences and verdict of every arm."""
    return _frame(
        {
            "group": s.entry.group,
            "arm": s.name,
            "seeds": len(suite.runs.get(s.name, [])),
            "scored": len(s.scores),
            "score": s.score,
            "std": s.std,
            "to_pretrained": s.to_pretrained,
            "to_baseline": s.to_baseline,
            "to_baseline_low": s.low,
            "to_baseline_high": s.high,
            "p": s.p,
            "p_floor": s.floor,
            "verdict": s.verdict,
        }
        for s in standings.arms
    )


def arms(standings: Standings) -> pl.DataFrame:
    """What each arm is there to find out, and its verdict."""
    return _frame(
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
                "std": float(means.std(ddof=1)) if means.size > 1 else None,
                "to_baseline": difference(mean(means), standings.baseline),
                "best": scored[0].name if scored else None,
                "worst": scored[-1].name if scored else None,
                **{v: sum(s.verdict == v for s in members) for v in (IMPROVEMENT, NEUTRAL, COLLAPSE)},
                "without_score": sum(s.verdict in (MISSING, NOT_RUN) for s in members),
                "published": published[letter] if published else None,
            }
        )
    return _frame(rows)


def gradients(suite: Suite) -> pl.DataFrame:
    """Alignment of RL and BC gradients, and their norms, means over training."""
    return _by_arm(
        suite,
        {
            "cosine": ("diag/gradient_cosine", np.mean),
            "cosine_min": ("diag/gradient_cosine", np.min),
            "cosine_negative": ("diag/gradient_cosine", share_negative),
            "rl_norm": ("diag/rl_grad_norm", np.mean),
            "bc_norm": ("diag/bc_grad_norm", np.mean),
            "pcgrad_removed": ("diag/pcgrad_removed_fraction", np.mean),
            "pcgrad_tensors": ("diag/pcgrad_conflicting_tensors", np.mean),
            "step_norm": ("diffusion/grad_norm", np.mean),
            "effective_batch": ("train/effective_batch", np.mean),
            "win_rate": ("train/win_rate", np.mean),
            "empty_batches": ("train/empty_batches", np.sum),
        },
    )


def noise_levels(suite: Suite) -> pl.DataFrame:
    """Gradient norm for each t-bin and its direction, means over training; final KL by t."""
    bins = sorted(suite.columns(BIN_NORM), key=int)
    return _by_arm(
        suite,
        {
            **{f"norm_{number}": (BIN_NORM + number, np.mean) for number in bins},
            "low_high_cosine": ("diag/t_low_high_cosine", np.mean),
            "kl_low_t": ("diag/kl_low_t", last),
            "kl_mid_t": ("diag/kl_mid_t", last),
            "kl_high_t": ("diag/kl_high_t", last),
        },
    )


def forgetting(suite: Suite, standings: Standings) -> pl.DataFrame:
    """How far each arm went from the pretrained planner, and what it lost on the way."""
    rows = []
    for arm in suite.arms:
        changes = [after - before for before, after in achievement_rates(suite, arm).values()]
        rows.append(
            {
                "arm": arm,
                "kl_final": suite.average(arm, "diag/kl", last),
                "kl_max": suite.average(arm, "diag/kl", np.max),
                "cka_final": suite.average(arm, "diag/cka", last),
                "to_pretrained": standings[arm].to_pretrained,
                "achievements_lost": sum(c < -LOST for c in changes) if changes else None,
                "achievements_won": sum(c > LOST for c in changes) if changes else None,
            }
        )
    return _frame(rows)


def representation(suite: Suite) -> pl.DataFrame:
    """CKA with the pretrained policy, and each layer's gradient norm, mean over training."""
    columns = {"cka_first": ("diag/cka", lambda x: float(x[0])), "cka_final": ("diag/cka", last)}
    columns["cka_min"] = ("diag/cka", np.min)
    layers = {layer: (LAYER_NORM + layer, np.mean) for layer in suite.columns(LAYER_NORM)}
    return _by_arm(suite, columns | layers)


def actions(suite: Suite) -> pl.DataFrame:
    """The actions played before and after; entropy and divergences in nats."""
    rows = []
    for arm in suite.arms:
        use = action_use(suite.runs.get(arm, []))
        row: dict[str, Any] = {"arm": arm}
        if use is not None:
            before, after = use.before, use.after
            row |= {
                "entropy_before": entropy(before),
                "entropy_after": entropy(after),
                "effective_before": float(np.exp(entropy(before))),
                "effective_after": float(np.exp(entropy(after))),
                "gini_before": gini(before),
                "gini_after": gini(after),
                "js": jensen_shannon(before, after),
                "kl_after_before": kl(after, before),
                "total_variation": total_variation(before, after),
                "js_pairs": jensen_shannon(use.pairs_before.ravel(), use.pairs_after.ravel()),
            }
        rows.append(row)
    return _frame(rows)


def achievements(suite: Suite) -> pl.DataFrame:
    """Share of episodes with each achievement, of the pretrained planner and at the end."""
    rows = [
        {"arm": arm, "achievement": name, "pretrained": before, "final": after, "change": after - before}
        for arm in suite.arms
        for name, (before, after) in achievement_rates(suite, arm).items()
    ]
    silent = [{"arm": arm} for arm in suite.arms if arm not in {row["arm"] for row in rows}]
    return _frame([*rows, *silent])


def hypotheses(standings: Standings, findings: list[Finding]) -> pl.DataFrame:
    """The ranking of the hypotheses, with the arms that address each."""
    rows = []
    for rank, finding in enumerate(findings, 1):
        addressing = [s for s in standings.arms if s.entry.hypothesis == finding.hypothesis]
        rows.append(
            {
                "rank": rank,
                "hypothesis": finding.hypothesis,
                "verdict": finding.verdict,
                "speak_for": finding.supporting,
                "measured": finding.measured,
                "indicators": len(finding.evidence),
                "arms": ", ".join(f"{s.name} {s.verdict}" for s in addressing if s.verdict != NOT_RUN),
            }
        )
    return _frame(rows)


def evidence(findings: list[Finding]) -> pl.DataFrame:
    """Every indicator with its value and threshold, by rank of the hypothesis."""
    words = {True: "for", False: "against", None: "not measured"}
    return _frame(
        {
            "hypothesis": e.indicator.hypothesis,
            "quantity": e.indicator.quantity,
            "value": e.value,
            "speaks_for_it_if": f"{e.indicator.sign} {e.indicator.threshold:g}",
            "speaks": words[e.speaks_for],
        }
        for finding in findings
        for e in finding.evidence
    )


def _by_arm(suite: Suite, columns: dict[str, tuple[str, Callable[[np.ndarray], float]]]) -> pl.DataFrame:
    """A row for each arm asked for: summaries over training, averaged over seeds."""
    return _frame(
        {"arm": arm, **{title: suite.average(arm, name, of) for title, (name, of) in columns.items()}}
        for arm in suite.arms
    )


def _frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), infer_schema_length=None)
