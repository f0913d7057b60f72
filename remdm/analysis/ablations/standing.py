"""The score, the differences, the verdict and the p value of each arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from remdm.analysis.ablations.runs import SCORE, Suite
from remdm.analysis.seeds import mean_curve
from remdm.analysis.statistics import attainable_floor, p_values
from remdm.base.estimates import Estimate, estimate
from remdm.config.arms import ARMS, BASELINE, ArmEntry

IMPROVEMENT, NEUTRAL, COLLAPSE, UNDECIDED = "IMPROVEMENT", "NEUTRAL", "COLLAPSE", "UNDECIDED"
VERDICTS = (IMPROVEMENT, NEUTRAL, COLLAPSE, UNDECIDED)
BETTER, WORSE = 0.05, 0.10  # shares of the scale: a difference beyond them counts
MISSING, NOT_RUN, REFERENCE, UNKNOWN = "missing", "not run", "reference", "no baseline"


@dataclass(frozen=True)
class Standing:
    """The results of one arm; unknown values are None.

    Attributes:
        scores: of its seeds [N].
        to_pretrained, to_baseline: mean difference with its 95 % interval, over pairs of the same worlds and
            seed.
        verdict: one of VERDICTS against the baseline, or why there is none.
        p: adjusted for the choice of an arm among all; `floor` is the smallest that its seeds can reach.
    """

    entry: ArmEntry
    scores: np.ndarray
    to_pretrained: Estimate | None
    to_baseline: Estimate | None
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
    """All arms of the registry, and the scores of the baseline and of the pretrained planner."""

    arms: tuple[Standing, ...]
    baseline: float | None
    pretrained: float | None

    def __getitem__(self, arm: str) -> Standing:
        return next(standing for standing in self.arms if standing.name == arm)

    @property
    def scale(self) -> float:
        """The scale of differences, as of `scale_of`."""
        return scale_of(self.baseline, self.pretrained)

    @property
    def scored(self) -> list[Standing]:
        """The arms with a score, except the baseline; the best first."""
        found = [s for s in self.arms if s.name != BASELINE and s.score is not None]
        return sorted(found, key=lambda s: -float(s.scores.mean()))

    @property
    def collapse(self) -> str | None:
        """The verdict on the baseline against the pretrained planner; None if there is no baseline."""
        change = self[BASELINE].to_pretrained
        return None if change is None else verdict(change, self.scale)


def stand(suite: Suite) -> Standings:
    """The results of every arm of the registry."""
    scores = {entry.name: suite.scores(entry.name) for entry in ARMS}
    of_baseline = scores[BASELINE]
    baseline, pretrained = mean(of_baseline), mean(suite.pretrained(SCORE))
    scale = scale_of(baseline, pretrained)
    p = p_values({arm: own for arm, own in scores.items() if arm != BASELINE and own.size}, of_baseline)

    def one(entry: ArmEntry) -> Standing:
        own = scores[entry.name]
        to_baseline = paired(suite.to_baseline(entry.name)) if entry.name != BASELINE else None
        if not own.size:
            found = MISSING if entry.name in suite.arms else NOT_RUN
        elif entry.name == BASELINE:
            found = REFERENCE
        else:
            found = UNKNOWN if to_baseline is None else verdict(to_baseline, scale)
        floor = attainable_floor(own.size, of_baseline.size) if entry.name in p else None
        to_pretrained = paired(suite.to_pretrained(entry.name))
        return Standing(entry, own, to_pretrained, to_baseline, found, p.get(entry.name), floor)

    return Standings(tuple(one(entry) for entry in ARMS), baseline, pretrained)


class Collapse(NamedTuple):
    """The course of an arm's score, averaged over seeds, over its evaluations; None where it does not apply.

    Attributes:
        iteration: of the first evaluation more than 10 % of the scale below the pretrained planner.
        least, least_iteration: the lowest score, and its iteration.
        recovered: whether, after a collapse, the last evaluation is back within 10 %.
    """

    iteration: float | None
    least: float | None
    least_iteration: float | None
    recovered: bool | None


def collapse_of(suite: Suite, standings: Standings, arm: str) -> Collapse:
    """Whether and when an arm falls below the pretrained planner, and whether it recovers."""
    curve = mean_curve(suite.of(arm), SCORE, "update", smoothed=False)
    if curve is None or standings.pretrained is None:
        return Collapse(None, None, None, None)
    below = curve.mean < standings.pretrained - WORSE * standings.scale
    least = int(curve.mean.argmin())
    return Collapse(
        iteration=float(curve.x[below.argmax()]) if below.any() else None,
        least=float(curve.mean[least]),
        least_iteration=float(curve.x[least]),
        recovered=not below[-1] if below.any() else None,
    )


def paired(differences: Sequence[np.ndarray]) -> Estimate | None:
    """The mean of each seed's differences in the same worlds [E], with its interval; None without seeds."""
    return estimate(differences) if differences else None


def scale_of(baseline: float | None, pretrained: float | None) -> float:
    """The scale of differences: the larger absolute value of the two scores, 0 if there is none."""
    return max((abs(score) for score in (baseline, pretrained) if score is not None), default=0.0)


def verdict(difference: Estimate, scale: float) -> str:
    """The verdict on a difference, by its whole interval in shares of the scale.

    IMPROVEMENT if the interval is above +5 %, COLLAPSE if below -10 %, NEUTRAL if between the two, else
    UNDECIDED: other worlds or seeds could then change the verdict. Without a scale, NEUTRAL.
    """
    if scale <= 0:
        return NEUTRAL
    worst, best = -WORSE * scale, BETTER * scale
    if difference.low > best:
        return IMPROVEMENT
    if difference.high < worst:
        return COLLAPSE
    return NEUTRAL if worst <= difference.low and difference.high <= best else UNDECIDED


def mean(values: np.ndarray) -> float | None:
    """The mean of values [N]; None if there are none."""
    return float(values.mean()) if values.size else None


def std(values: np.ndarray) -> float | None:
    """The standard deviation of a sample [N]; None for fewer than two values."""
    return float(values.std(ddof=1)) if values.size > 1 else None
