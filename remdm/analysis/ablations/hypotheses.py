"""Hypotheses on why fine-tuning fails: their indicators, the indicators' thresholds, and a ranking."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remdm.analysis.ablations.actions import ActionUse, action_use, entropy, gini
from remdm.analysis.ablations.runs import ACHIEVEMENT, BIN_NORM, Suite
from remdm.analysis.ablations.standing import BETTER, Standings
from remdm.config.arms import BASELINE, HYPOTHESES

SUPPORTED, SUGGESTED, NOT_SUPPORTED, UNMEASURED = "SUPPORTED", "SUGGESTED", "NOT SUPPORTED", "NOT MEASURED"
DRIFT = 0.05  # nats, the radius of trust_region_kl
LOST = 0.05  # smallest change of an achievement's rate that counts
BEST_ARM = "best difference to baseline_rl of the arms that address it, as a share of the scale (low end)"

NEXT_STEPS = {
    "forgetting": "sweep the strength of the best constraint, and add a behaviour-cloning loss",
    "gradient conflict": "project conflicting gradients, or separate RL and BC into alternating phases",
    "signal sparsity": "make the reward denser or the windows longer, and use more windows a step",
    "distribution shift": "keep more old or expert windows in each batch",
    "mode collapse": "sweep the entropy bonus and the sampling temperature, and drop degenerate plans",
    "t-bias": "reweight or stratify t, and compare arms at equal gradient norm per t-bin",
}

# A quantity of the baseline, its measurement, and the sign and threshold with which it supports a hypothesis.
Indicator = tuple[str, Callable[[Suite], float | None], str, float]


@dataclass(frozen=True)
class Evidence:
    """An indicator and its value, None where it was not measured."""

    quantity: str
    value: float | None
    sign: str
    threshold: float

    @property
    def speaks_for(self) -> bool | None:
        """Whether it supports the hypothesis; None where it was not measured."""
        if self.value is None:
            return None
        return self.value > self.threshold if self.sign == ">" else self.value < self.threshold


@dataclass(frozen=True)
class Finding:
    """One hypothesis with all its indicators."""

    hypothesis: str
    evidence: tuple[Evidence, ...]

    @property
    def measured(self) -> int:
        """How many indicators were measured."""
        return sum(e.speaks_for is not None for e in self.evidence)

    @property
    def supporting(self) -> int:
        """How many indicators support it."""
        return sum(e.speaks_for is True for e in self.evidence)

    @property
    def an_arm_helps(self) -> bool:
        """Whether an arm that addresses it improves on the baseline: an experiment, not a correlate."""
        return any(e.speaks_for is True and e.quantity == BEST_ARM for e in self.evidence)

    @property
    def verdict(self) -> str:
        """SUPPORTED: half of the indicators, an arm's improvement among them; SUGGESTED: one of the two."""
        if not self.measured:
            return UNMEASURED
        half = 2 * self.supporting >= self.measured
        if half and self.an_arm_helps:
            return SUPPORTED
        return SUGGESTED if half or self.an_arm_helps else NOT_SUPPORTED

    @property
    def rank(self) -> tuple[int, float, int]:
        """A sort key: the best supported hypothesis has the smallest."""
        order = (SUPPORTED, SUGGESTED, NOT_SUPPORTED, UNMEASURED)
        share = self.supporting / max(self.measured, 1)
        return order.index(self.verdict), -share, -self.supporting


def judge(suite: Suite, standings: Standings) -> list[Finding]:
    """All hypotheses, the best supported first."""
    findings = []
    for hypothesis in HYPOTHESES:
        measured = [
            Evidence(quantity, measure(suite), sign, threshold)
            for quantity, measure, sign, threshold in INDICATORS[hypothesis]
        ]
        best = Evidence(BEST_ARM, _best_difference(standings, hypothesis), ">", BETTER)
        findings.append(Finding(hypothesis, (*measured, best)))
    return sorted(findings, key=lambda finding: finding.rank)


def last(values: np.ndarray) -> float:
    """The last of values [N]."""
    return float(values[-1])


def share_negative(values: np.ndarray) -> float:
    """The share of values [N] below zero."""
    return float((values < 0).mean())


def trend(values: np.ndarray) -> float:
    """Change of values [N] from the first quarter's mean to the last's, as a share of the first's size."""
    quarter = max(1, len(values) // 4)
    first = float(values[:quarter].mean())
    return (float(values[-quarter:].mean()) - first) / max(abs(first), 1e-9)


def achievement_rates(suite: Suite, arm: str) -> dict[str, tuple[float, float]]:
    """Share of episodes with each achievement: of the pretrained planner, and at the end of an arm's runs.

    A run without a finished episode in one of the two evaluations counts in neither.
    """
    rates = {}
    for name in suite.columns(ACHIEVEMENT):
        pairs = [
            (before, after)
            for run in suite.of(arm)
            if (before := run.pretrained.get(ACHIEVEMENT + name)) is not None
            and (after := run.final(ACHIEVEMENT + name)) is not None
        ]
        if pairs:
            before, after = np.mean(pairs, axis=0)
            rates[name] = float(before), float(after)
    return rates


def _best_difference(standings: Standings, hypothesis: str) -> float | None:
    """`BEST_ARM` of a hypothesis."""
    arms = [standing for standing in standings.arms if standing.entry.hypothesis == hypothesis]
    differences = [arm.to_baseline.low for arm in arms if arm.to_baseline is not None]
    return max(differences) / standings.scale if differences and standings.scale > 0 else None


def _achievements_lost(suite: Suite) -> float | None:
    """Of the achievements that the pretrained planner had, the share whose rate fell by more than LOST."""
    had = [(b, a) for b, a in achievement_rates(suite, BASELINE).values() if b > LOST]
    return sum(b - a > LOST for b, a in had) / len(had) if had else None


def _high_to_low_norm(suite: Suite) -> float | None:
    """Mean gradient norm of the upper third of the t-bins over that of the lower third."""
    norms = [suite.average(BASELINE, BIN_NORM + name) for name in suite.bins]
    known = [norm for norm in norms if norm is not None]
    third = len(known) // 3
    if not third or len(known) < len(norms):
        return None
    low, high = np.mean(known[:third]), np.mean(known[-third:])
    return float(high / low) if low > 0 else None


def _effective_batch(suite: Suite) -> float | None:
    found = suite.average(BASELINE, "train/effective_batch")
    return None if found is None else found / suite.config["ablation_batch_size"]


def _kl_ratio(suite: Suite) -> float | None:
    high, low = (suite.average(BASELINE, f"diag/kl_{part}_t", last) for part in ("high", "low"))
    return None if high is None or low is None or low <= 0 else high / low


def _metric(name: str, of: Callable[[np.ndarray], float] = np.mean) -> Callable[[Suite], float | None]:
    return lambda suite: suite.average(BASELINE, name, of)


def _of_actions(measure: Callable[[ActionUse], float]) -> Callable[[Suite], float | None]:
    def measured(suite: Suite) -> float | None:
        use = action_use(suite, BASELINE)
        return None if use is None else measure(use)

    return measured


INDICATORS: dict[str, tuple[Indicator, ...]] = {
    "forgetting": (
        ("final KL to the pretrained, nats", _metric("diag/kl", last), ">", DRIFT),
        ("final CKA with the pretrained policy", _metric("diag/cka", last), "<", 0.9),
        ("share of the pretrained planner's achievements that fell by over 5 points",
                  _achievements_lost, ">", 0.25),
    ),
    "gradient conflict": (
        ("mean cosine of RL and BC gradient", _metric("diag/gradient_cosine"), "<", 0.0),
        ("share of measurements with a negative cosine",
                  _metric("diag/gradient_cosine", share_negative), ">", 0.25),
        ("share of the gradient's squared norm that PCGrad would remove",
                  _metric("diag/pcgrad_removed_share"), ">", 0.1),
    ),
    "signal sparsity": (
        ("mean win rate", _metric("train/win_rate"), "<", 0.1),
        ("effective batch as a share of the batch", _effective_batch, "<", 0.5),
    ),
    "distribution shift": (
        ("change of the collected windows' return, first to last quarter",
                  _metric("train/window_return", trend), "<", -0.1),
        ("JS of action pairs before and after, nats",
                  _of_actions(lambda use: use.divergence_of_pairs), ">", 0.05),
    ),
    "mode collapse": (
        ("effective actions after, as a share of before",
                  _of_actions(lambda use: float(np.exp(entropy(use.after) - entropy(use.before)))), "<", 0.8),
        ("rise of the actions' Gini coefficient",
                  _of_actions(lambda use: gini(use.after) - gini(use.before)), ">", 0.05),
    ),
    "t-bias": (
        ("mean cosine of low-t and high-t gradients", _metric("diag/t_low_high_cosine"), "<", 0.0),
        ("gradient norm of the highest third of t over the lowest", _high_to_low_norm, ">", 2.0),
        ("final KL at high t over that at low t", _kl_ratio, ">", 2.0),
    ),
}  # fmt: skip
