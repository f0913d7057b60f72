"""Statistics of the episodes of several trainings, and tests of their differences."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import scipy  # which imports a part such as `scipy.stats` when it is first used: that takes half a second

from remdm.base.estimates import Estimate, Samples, estimate_of_two, rate

FLIPS = 9999
ENUMERATED = 20_000  # labellings; of more, as many are drawn


def iqm(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half (interquartile mean): [..., N] -> [...]."""
    return np.asarray(scipy.stats.trim_mean(sample, 0.25, axis=axis))


def improvement(sample: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probability that a draw of the first exceeds one of the other, ties halved (Mann and Whitney, 1947).

    Args:
        sample: [..., N] and `other` [..., M] -> [...].
    """
    pairs = np.shape(sample)[axis] * np.shape(other)[axis]
    return scipy.stats.mannwhitneyu(sample, other, axis=axis, method="asymptotic").statistic / pairs


def ratio(sample: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the first over mean of the other, which is positive: [..., N], [..., M] -> [...]."""
    return np.asarray(np.mean(sample, axis) / np.mean(other, axis))


def profile(samples: Samples, thresholds: np.ndarray) -> np.ndarray:
    """Performance profile (Agarwal et al. 2021): share of episodes that reach each threshold.

    Args:
        thresholds: [K].

    Returns:
        Value, low and high, pointwise: [3, K].
    """
    return np.array([rate([sample >= threshold for sample in samples]) for threshold in thresholds]).T


def improvement_estimate(samples: Samples, others: Samples) -> Estimate:
    """`improvement` within each seed, seeds averaged; the interval as in `estimate`."""
    return Estimate(*np.clip(estimate_of_two(samples, others, improvement), 0.0, 1.0).tolist())


def sign_flip(differences: np.ndarray) -> tuple[float, float]:
    """Two-sided p that paired differences [N] are symmetric about zero, by flipping their signs.

    Exact over all 2^N patterns if there are at most `FLIPS`, else from that many (Ernst, 2004).

    Returns:
        p, and the smallest attainable p.
    """
    differences = np.asarray(differences, float)
    result = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=FLIPS,
        batch=1000,
        rng=np.random.default_rng(0),
    )
    patterns = 2.0 ** len(differences)
    return float(result.pvalue), 2 / patterns if patterns <= FLIPS else 2 / (FLIPS + 1)


def attainable_floor(n_a: int, n_b: int) -> float:
    """The smallest two-sided p value that n_a seeds against n_b can reach: 2 / C(n_a + n_b, n_b)."""
    return min(1.0, 2 / math.comb(n_a + n_b, n_b))


def p_values(arms: Mapping[str, np.ndarray], baseline: np.ndarray, seed: int = 0) -> dict[str, float]:
    """For each arm the p value of its mean difference to the baseline, adjusted for picking an arm.

    If no arm differed, all labellings of the scores would be equally probable. The p of the arm with the
    largest difference is the share of labellings in which the *largest* difference of any arm is at least its
    own, which accounts for picking it. Every other arm is tested likewise among those with no larger
    difference, because scores of arms that do differ would widen the null distribution; its p is at least
    that of the arms before it (Westfall and Young 1993, step-down max T).

    Up to ENUMERATED labellings are all enumerated; of more, that many are drawn, and the observed one is
    added, which keeps the test exact. The spread of other arms may make p smaller than the arm's own seeds
    could; it is never reported below their floor.

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
    sizes, scores = [len(group) for group in groups], np.concatenate(groups)
    starts = np.cumsum([0, *sizes[:-1]])

    def largest(scores: np.ndarray) -> np.ndarray:
        """Of the differences between the first group's mean and the others': [R, N] -> [R]."""
        means = np.add.reduceat(scores, starts, axis=1) / np.array(sizes)
        return np.abs(means[:, 1:] - means[:, :1]).max(axis=1)

    enumerated = count_labellings(sizes) <= ENUMERATED
    if enumerated:
        labellings = np.array(list(_deal(tuple(range(len(scores))), sizes)))
    else:
        every = np.tile(np.arange(len(scores)), (ENUMERATED, 1))
        labellings = np.random.default_rng(seed).permuted(every, axis=1)
    tolerance = 1e-9 * max(1.0, np.abs(scores).max())  # equal differences, summed in another order
    reached = largest(scores[labellings]) >= largest(scores[None]) - tolerance
    extra = 0 if enumerated else 1
    return float((reached.sum() + extra) / (len(reached) + extra))


def count_labellings(sizes: Sequence[int]) -> int:
    """The number of ways to deal scores out to groups of these sizes."""
    return math.factorial(sum(sizes)) // math.prod(math.factorial(size) for size in sizes)


def _deal(left: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to deal indices out to groups of these sizes, one group after the other."""
    if len(sizes) == 1:
        yield left
        return
    for chosen in combinations(left, sizes[0]):
        rest = tuple(i for i in left if i not in chosen)
        yield from (chosen + others for others in _deal(rest, sizes[1:]))
