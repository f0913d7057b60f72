"""Why fine-tuning fails, as far as the suite can say: indicators, their thresholds, and a ranking."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remdm.analysis.ablations.actions import action_use, entropy, gini, jensen_shannon
from remdm.analysis.ablations.runs import ACHIEVEMENT, BIN_NORM, Suite
from remdm.analysis.ablations.significance import BETTER
from remdm.analysis.ablations.standing import Standings
from remdm.config.arms import BASELINE, HYPOTHESES

SUPPORTED, SUGGESTED, NOT_SUPPORTED, UNMEASURED = "SUPPORTED", "SUGGESTED", "NOT SUPPORTED", "NOT MEASURED"
DRIFT = 0.05  # nats: the radius of trust_region_kl
BATCH_SIZE = "ablation_batch_size"

NEXT_STEPS = {
    "forgetting": "sweep the strength of the best constraint, and add a behaviour-cloning loss",
    "gradient conflict": "project conflicting gradients, or separate RL and BC into alternating phases",
    "signal sparsity": "make the reward denser or the windows longer, and use more windows a step",
    "distribution shift": "keep more old or expert windows in each batch",
    "mode collapse": "sweep the entropy bonus and the sampling temperature, and drop degenerate plans",
    "t-bias": "reweight or stratify t, and compare arms at equal gradient norm per t-bin",
}


@dataclass(frozen=True)
class Indicator:
    """A quantity that speaks for a hypothesis when it lies above (or below) a threshold."""

    hypothesis: str
    quantity: str
    measure: Callable[[Suite, Standings], float | None]
    sign: str
    threshold: float


@dataclass(frozen=True)
class Evidence:
    """An indicator and its value; `speaks_for` is None where it was not measured."""

    indicator: Indicator
    value: float | None

    @property
    def speaks_for(self) -> bool | None:
        """Whether it speaks for the hypothesis."""
        if self.value is None:
            return None
        above = self.value > self.indicator.threshold
        return above if self.indicator.sign == ">" else self.value < self.indicator.threshold


@dataclass(frozen=True)
class Finding:
    """What all indicators say on one hypothesis."""

    hypothesis: str
    evidence: tuple[Evidence, ...]

    @property
    def measured(self) -> int:
        """How many indicators were measured."""
        return sum(e.speaks_for is not None for e in self.evidence)

    @property
    def supporting(self) -> int:
        """How many speak for it."""
        return sum(e.speaks_for is True for e in self.evidence)

    @property
    def an_arm_helps(self) -> bool:
        """Whether an arm that addresses it improves on the baseline: an experiment, not a correlate."""
        return any(e.speaks_for is True and e.indicator.quantity == BEST_ARM for e in self.evidence)

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
        """Small is better supported."""
        order = (SUPPORTED, SUGGESTED, NOT_SUPPORTED, UNMEASURED)
        share = self.supporting / self.measured if self.measured else 0.0
        return order.index(self.verdict), -share, -self.supporting


def judge(suite: Suite, standings: Standings) -> list[Finding]:
    """All hypotheses, the best supported first."""
    findings = [
        Finding(
            hypothesis,
            tuple(
                Evidence(indicator, indicator.measure(suite, standings))
                for indicator in INDICATORS
                if indicator.hypothesis == hypothesis
            ),
        )
        for hypothesis in HYPOTHESES
    ]
    return sorted(findings, key=lambda finding: finding.rank)


def last(values: np.ndarray) -> float:
    """The last value."""
    return float(values[-1])


def share_negative(values: np.ndarray) -> float:
    """The share of values below zero."""
    return float((values < 0).mean())


def trend(values: np.ndarray) -> float:
    """Change from the first quarter's mean to the last's, as a share of the first's size."""
    quarter = max(1, len(values) // 4)
    first = float(values[:quarter].mean())
    return (float(values[-quarter:].mean()) - first) / max(abs(first), 1e-9)


def high_to_low_norm(suite: Suite, arm: str) -> float | None:
    """Mean gradient norm of the upper third of the t-bins over that of the lower third."""
    names = suite.columns(BIN_NORM)
    norms = [suite.average(arm, BIN_NORM + name) for name in sorted(names, key=int)]
    known = [norm for norm in norms if norm is not None]
    third = len(known) // 3
    if not third or len(known) < len(names):
        return None
    low, high = np.mean(known[:third]), np.mean(known[-third:])
    return float(high / low) if low > 0 else None


def achievement_rates(suite: Suite, arm: str) -> dict[str, tuple[float, float]]:
    """Share of episodes with each achievement: of the pretrained planner, and at the end of an arm's runs.

    A run of which no episode ended in one of the two evaluations counts in neither.
    """
    rates = {}
    for name in suite.columns(ACHIEVEMENT):
        pairs = [
            (before, after)
            for run in suite.runs.get(arm, [])
            if (before := run.pretrained.get(ACHIEVEMENT + name)) is not None
            and (after := run.final(ACHIEVEMENT + name)) is not None
        ]
        if pairs:
            before, after = np.mean(pairs, axis=0)
            rates[name] = float(before), float(after)
    return rates


LOST = 0.05  # a change of an achievement's rate that counts


def achievements_lost(suite: Suite, arm: str) -> float | None:
    """Of the achievements the pretrained planner had, the share whose rate fell by more than LOST."""
    had = [(b, a) for b, a in achievement_rates(suite, arm).values() if b > LOST]
    return sum(b - a > LOST for b, a in had) / len(had) if had else None


def effective_actions_kept(suite: Suite, arm: str) -> float | None:
    """Effective actions (exp of the entropy) after, as a share of those before."""
    use = action_use(suite.runs.get(arm, []))
    return None if use is None else float(np.exp(entropy(use.after) - entropy(use.before)))


def _gini_rise(suite: Suite, _: Standings) -> float | None:
    use = action_use(suite.baseline)
    return None if use is None else gini(use.after) - gini(use.before)


def _pair_shift(suite: Suite, _: Standings) -> float | None:
    use = action_use(suite.baseline)
    return None if use is None else jensen_shannon(use.pairs_before.ravel(), use.pairs_after.ravel())


def _effective_batch(suite: Suite, _: Standings) -> float | None:
    found = suite.average(BASELINE, "train/effective_batch")
    return None if found is None else found / suite.config[BATCH_SIZE]


def _kl_ratio(suite: Suite, _: Standings) -> float | None:
    high, low = (suite.average(BASELINE, f"diag/kl_{part}_t", last) for part in ("high", "low"))
    return None if high is None or low is None or low <= 0 else high / low


def _baseline(
    name: str, of: Callable[[np.ndarray], float] = np.mean
) -> Callable[[Suite, Standings], float | None]:
    return lambda suite, _: suite.average(BASELINE, name, of)


BEST_ARM = "best difference to baseline_rl of the arms that address it, as a share of the scale"


def _best_arm(hypothesis: str) -> Indicator:
    def measure(suite: Suite, standings: Standings) -> float | None:
        differences = [
            standing.to_baseline
            for standing in standings.arms
            if standing.entry.hypothesis == hypothesis and standing.to_baseline is not None
        ]
        return max(differences) / standings.scale if differences and standings.scale > 0 else None

    return Indicator(hypothesis, BEST_ARM, measure, ">", BETTER)


INDICATORS = (
    Indicator("forgetting", "final KL to the pretrained, nats", _baseline("diag/kl", last), ">", DRIFT),
    Indicator("forgetting", "final CKA with the pretrained policy", _baseline("diag/cka", last), "<", 0.9),
    Indicator(
        "forgetting",
        "share of the pretrained planner's achievements that fell by over 5 points",
        lambda suite, _: achievements_lost(suite, BASELINE),
        ">",
        0.25,
    ),
    _best_arm("forgetting"),
    Indicator(
        "gradient conflict", "mean cosine of RL and BC gradient", _baseline("diag/gradient_cosine"), "<", 0.0
    ),
    Indicator(
        "gradient conflict",
        "share of measurements with a negative cosine",
        _baseline("diag/gradient_cosine", share_negative),
        ">",
        0.25,
    ),
    Indicator(
        "gradient conflict",
        "share of the gradient that PCGrad would remove",
        _baseline("diag/pcgrad_removed_fraction"),
        ">",
        0.1,
    ),
    _best_arm("gradient conflict"),
    Indicator("signal sparsity", "mean win rate", _baseline("train/win_rate"), "<", 0.1),
    Indicator("signal sparsity", "effective batch as a share of the batch", _effective_batch, "<", 0.5),
    _best_arm("signal sparsity"),
    Indicator(
        "distribution shift",
        "change of the collected windows' return, first to last quarter",
        _baseline("train/window_return", trend),
        "<",
        -0.1,
    ),
    Indicator(
        "distribution shift",
        "JS of action pairs before and after, nats",
        _pair_shift,
        ">",
        0.05,
    ),
    _best_arm("distribution shift"),
    Indicator(
        "mode collapse",
        "effective actions after, as a share of before",
        lambda suite, _: effective_actions_kept(suite, BASELINE),
        "<",
        0.8,
    ),
    Indicator("mode collapse", "rise of the actions' Gini coefficient", _gini_rise, ">", 0.05),
    _best_arm("mode collapse"),
    Indicator(
        "t-bias", "mean cosine of low-t and high-t gradients", _baseline("diag/t_low_high_cosine"), "<", 0.0
    ),
    Indicator(
        "t-bias",
        "gradient norm of the highest third of t over the lowest",
        lambda suite, _: high_to_low_norm(suite, BASELINE),
        ">",
        2.0,
    ),
    Indicator("t-bias", "final KL at high t over that at low t", _kl_ratio, ">", 2.0),
    _best_arm("t-bias"),
)
