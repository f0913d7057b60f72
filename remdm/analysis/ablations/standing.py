"""Where each arm stands: score, differences, verdict, and what the seeds can say about it."""

from dataclasses import dataclass

import numpy as np

from remdm.analysis.ablations.runs import SCORE, Suite
from remdm.analysis.statistics import attainable_floor, difference_interval, p_values
from remdm.config.arms import ARMS, BASELINE, ArmEntry

IMPROVEMENT, NEUTRAL, COLLAPSE = "IMPROVEMENT", "NEUTRAL", "COLLAPSE"
BETTER, WORSE = 0.05, 0.10  # shares of the scale beyond which a difference counts
MISSING, NOT_RUN, REFERENCE, UNKNOWN = "missing", "not run", "reference", "no baseline"


@dataclass(frozen=True)
class Standing:
    """One arm; what is not known is None.

    Attributes:
        scores: of its seeds [N].
        low, high: 95 % interval of the difference to the baseline, over seeds.
        verdict: IMPROVEMENT, NEUTRAL or COLLAPSE against the baseline, or why there is none.
        p: for the arm that one may pick from all; `floor` is the smallest that its seeds can reach.
    """

    entry: ArmEntry
    scores: np.ndarray
    to_pretrained: float | None
    to_baseline: float | None
    low: float | None
    high: float | None
    verdict: str
    p: float | None
    floor: float | None

    @property
    def name(self) -> str:
        """The arm."""
        return self.entry.name

    @property
    def score(self) -> float | None:
        """Mean over seeds."""
        return mean(self.scores)

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds."""
        return std(self.scores)


@dataclass(frozen=True)
class Standings:
    """All arms of the registry, and what they are measured by."""

    arms: tuple[Standing, ...]
    baseline: float | None
    pretrained: float | None

    def __getitem__(self, arm: str) -> Standing:
        return next(standing for standing in self.arms if standing.name == arm)

    @property
    def scale(self) -> float:
        """What differences are measured by."""
        return scale_of(self.baseline, self.pretrained)

    @property
    def scored(self) -> list[Standing]:
        """The arms with a score but the baseline, the best first."""
        found = [s for s in self.arms if s.name != BASELINE and s.score is not None]
        return sorted(found, key=lambda s: -float(s.scores.mean()))

    @property
    def collapse(self) -> str | None:
        """The verdict on the baseline against the pretrained planner; None if one of them is missing."""
        if self.baseline is None or self.pretrained is None:
            return None
        return verdict(self.baseline - self.pretrained, self.scale)


def stand(suite: Suite) -> Standings:
    """Where every arm of the registry stands."""
    scores = {entry.name: suite.scores(entry.name) for entry in ARMS}
    baseline, pretrained = mean(scores[BASELINE]), mean(suite.pretrained(SCORE))
    tested = {arm: found for arm, found in scores.items() if arm != BASELINE and found.size}
    p = p_values(tested, scores[BASELINE])
    scale = scale_of(baseline, pretrained)

    def one(entry: ArmEntry) -> Standing:
        own = scores[entry.name]
        score = mean(own)
        to_baseline = difference(score, baseline) if entry.name != BASELINE else None
        interval = difference_interval(own, scores[BASELINE]) if to_baseline is not None else None
        low, high = interval or (None, None)
        if score is None:
            found = MISSING if entry.name in suite.arms else NOT_RUN
        elif entry.name == BASELINE:
            found = REFERENCE
        else:
            found = UNKNOWN if to_baseline is None else verdict(to_baseline, scale)
        floor = attainable_floor(own.size, scores[BASELINE].size) if to_baseline is not None else None
        to_pretrained = difference(score, pretrained)
        return Standing(entry, own, to_pretrained, to_baseline, low, high, found, p.get(entry.name), floor)

    return Standings(tuple(one(entry) for entry in ARMS), baseline, pretrained)


def scale_of(baseline: float | None, pretrained: float | None) -> float:
    """What differences are measured by: the larger of the two scores in size, 0 if there is none."""
    return max((abs(score) for score in (baseline, pretrained) if score is not None), default=0.0)


def verdict(difference: float, scale: float) -> str:
    """IMPROVEMENT above +5 % of the scale, COLLAPSE below -10 %, else NEUTRAL; no scale, NEUTRAL."""
    if scale > 0 and difference > BETTER * scale:
        return IMPROVEMENT
    return COLLAPSE if scale > 0 and difference < -WORSE * scale else NEUTRAL


def mean(values: np.ndarray) -> float | None:
    """The mean, or None of nothing."""
    return float(values.mean()) if values.size else None


def std(values: np.ndarray) -> float | None:
    """The standard deviation of a sample, or None of fewer than two values."""
    return float(values.std(ddof=1)) if values.size > 1 else None


def difference(a: float | None, b: float | None) -> float | None:
    """What `a` is more than `b`, or None if one is not known."""
    return None if a is None or b is None else a - b
