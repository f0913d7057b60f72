"""What a difference between a few seeds can and cannot show."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

IMPROVEMENT, NEUTRAL, COLLAPSE = "IMPROVEMENT", "NEUTRAL", "COLLAPSE"
BETTER, WORSE = 0.05, 0.10  # shares of the scale beyond which a difference counts
ENUMERATED = 20_000  # relabellings; beyond, as many are drawn


def scale_of(baseline: float | None, pretrained: float | None) -> float:
    """What differences are measured by: the larger of the two scores in size, 0 if there is none."""
    return max((abs(score) for score in (baseline, pretrained) if score is not None), default=0.0)


def verdict(difference: float, scale: float) -> str:
    """IMPROVEMENT above +5 % of the scale, COLLAPSE below -10 %, else NEUTRAL; no scale, NEUTRAL."""
    if scale > 0 and difference > BETTER * scale:
        return IMPROVEMENT
    return COLLAPSE if scale > 0 and difference < -WORSE * scale else NEUTRAL


def attainable_floor(n_a: int, n_b: int) -> float:
    """The smallest two-sided p value that n_a seeds against n_b can reach: 2 / C(n_a + n_b, n_b)."""
    return min(1.0, 2 / math.comb(n_a + n_b, n_b))


def p_values(arms: Mapping[str, np.ndarray], baseline: np.ndarray, seed: int = 0) -> dict[str, float]:
    """For each arm the p value of its mean difference to the baseline, for the arm that one may pick.

    If no arm differed, any labelling of all the scores would be as probable. The p of the most striking
    arm is the share of labellings in which the *largest* difference of any arm is at least its own, so
    that picking it is paid for. Every other arm is tested likewise among those that are no more striking than
    it, for scores of arms that do differ would widen the null, and its p is at least that of the arms
    before it (Westfall and Young 1993, step-down max T).

    All labellings are enumerated up to ENUMERATED of them; else that many are drawn, and the observed
    one counts as one more, which keeps the test exact. Other arms' spread may make p smaller than the
    arm's own seeds could; it is never reported below their floor.

    Args:
        arms: scores of each arm's seeds, at least one each.
        baseline: the baseline's scores [N]; without any, there is nothing to test.
    """
    if baseline.size == 0:
        return {}
    left = dict(sorted(arms.items(), key=lambda item: -abs(item[1].mean() - baseline.mean())))
    found, before = {}, 0.0
    for arm in list(left):
        before = max(before, _p_of_largest([baseline, *left.values()], seed))
        found[arm] = max(before, attainable_floor(len(arms[arm]), len(baseline)))
        del left[arm]
    return found


def _p_of_largest(groups: Sequence[np.ndarray], seed: int) -> float:
    """The share of labellings in which some group differs from the first as much as any does now."""
    sizes = [len(group) for group in groups]
    scores = np.concatenate(groups)
    observed = np.abs(_differences(scores[None], sizes)).max()
    enumerated = count_labellings(sizes) <= ENUMERATED
    labellings = _all_labellings(sizes) if enumerated else _draw_labellings(len(scores), seed)
    largest = np.abs(_differences(scores[labellings], sizes)).max(axis=1)
    tolerance = 1e-9 * max(1.0, np.abs(scores).max())  # equal differences, summed in another order
    extra = 0 if enumerated else 1
    return float(((largest >= observed - tolerance).sum() + extra) / (len(largest) + extra))


def count_labellings(sizes: Sequence[int]) -> int:
    """In how many ways scores can be dealt out to groups of these sizes."""
    return math.factorial(sum(sizes)) // math.prod(math.factorial(size) for size in sizes)


def _differences(scores: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Mean of each later group less that of the first: [R, N] -> [R, K]."""
    starts = np.cumsum([0, *sizes[:-1]])
    means = np.add.reduceat(scores, starts, axis=1) / np.array(sizes)
    return means[:, 1:] - means[:, :1]


def _all_labellings(sizes: Sequence[int]) -> np.ndarray:
    """Every way to deal the scores out to the groups, as rows of indices: [R, N]."""

    def deal(left: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
        if len(sizes) == 1:
            yield left
            return
        for chosen in combinations(left, sizes[0]):
            rest = tuple(i for i in left if i not in chosen)
            yield from (chosen + others for others in deal(rest, sizes[1:]))

    return np.array(list(deal(tuple(range(sum(sizes))), sizes)))


def _draw_labellings(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(count), (ENUMERATED, 1)), axis=1)
