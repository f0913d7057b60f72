"""What the episodes of several trainings show.

A result is a sample of episodes for each training seed. Every statistic is taken of each seed's episodes
and averaged over seeds, so that each training counts the same. Two intervals are kept apart:

- over episodes: how well the policies that were trained are known. Episodes are resampled within seeds
  (stratified bootstrap, Agarwal et al. 2021, arXiv 2108.13264, with seeds as strata). It says nothing
  about another training.
- over seeds: how other trainings would turn out on average; it needs two. Student's t of the seeds' values,
  each of which carries its episodes' noise. Resampling the seeds themselves, as is done for tens of runs,
  gives intervals that are far too narrow for three or five. t covers what it says where seeds scatter about
  normally; where one training in ten collapses, no interval from a few seeds that saw none of it does.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import scipy  # which imports a part such as `scipy.stats` when it is first used: that takes half a second

CONFIDENCE = 0.95
RESAMPLES = 2000
FLIPS = 9999
ENUMERATED = 20_000  # relabellings; beyond, as many are drawn

Samples = Sequence[np.ndarray]  # for each seed, its episodes [N_s]
Statistic = Callable[..., Any]  # of samples [..., N] along `axis`


class Estimate(NamedTuple):
    """A value and its interval."""

    value: float
    low: float
    high: float

    @property
    def percent(self) -> "Estimate":
        """A share in per cent."""
        return Estimate(*(100 * bound for bound in self))


def iqm(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half (interquartile mean): [..., N] -> [...]."""
    return np.asarray(scipy.stats.trim_mean(sample, 0.25, axis=axis))


def improvement(sample: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probability that a draw of the first exceeds one of the other, ties halved (Mann and Whitney, 1947).

    Args:
        sample: [..., N] and `other` [..., M] -> [...].
    """
    count, others = np.shape(sample)[axis], np.shape(other)[axis]
    ranks = scipy.stats.rankdata(np.concatenate([sample, other], axis), axis=axis)
    of_first = np.take(ranks, np.arange(count), axis).sum(axis)
    return (of_first - count * (count + 1) / 2) / (count * others)


def ratio(sample: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the first over mean of the other, which is positive: [..., N], [..., M] -> [...]."""
    return np.asarray(np.mean(sample, axis) / np.mean(other, axis))


def seed_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval of the mean over seeds, the last axis: [..., S] -> low, high [...]; S >= 2."""
    seeds = np.shape(values)[-1]
    middle, error = np.mean(values, -1), np.std(values, axis=-1, ddof=1) / np.sqrt(seeds)
    reach = scipy.special.stdtrit(seeds - 1, (1 + CONFIDENCE) / 2) * error
    return middle - reach, middle + reach


def episode_interval(*samples: np.ndarray, statistic: Statistic = np.mean) -> tuple[np.ndarray, np.ndarray]:
    """Stratified bootstrap (BCa: Efron, 1987) of the mean over strata of a statistic.

    Args:
        samples: of each stratum, [..., N_s]; leading axes are independent cases.
        statistic: of one stratum.

    Returns:
        low and high, [...]; of constant samples, the constant.
    """

    def over_strata(*resampled: np.ndarray, axis: int) -> np.ndarray:
        return np.mean([statistic(sample, axis=axis) for sample in resampled], axis=0)

    return _bootstrap(samples, over_strata)


def estimate(samples: Samples, statistic: Statistic = np.mean) -> Estimate:
    """A statistic with its interval: over seeds if there are two, else over the one seed's episodes."""
    values = np.array([float(statistic(sample)) for sample in samples])
    low, high = seed_interval(values) if len(values) > 1 else episode_interval(*samples, statistic=statistic)
    return Estimate(float(values.mean()), float(low), float(high))


def rate(samples: Samples) -> Estimate:
    """A probability with its interval: over seeds if there are two, else Wilson's (1927) over episodes.

    Args:
        samples: of each seed, whether it happened in an episode.
    """
    values = np.array([np.mean(sample) for sample in samples])
    if len(values) > 1:
        low, high = np.clip(seed_interval(values), 0.0, 1.0)
    else:
        happened = scipy.stats.binomtest(int(np.sum(samples[0])), len(samples[0]))
        low, high = happened.proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(float(values.mean()), float(low), float(high))


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


def estimate_of_two(samples: Samples, others: Samples, statistic: Statistic) -> Estimate:
    """A statistic of two samples of each seed; of one seed, the episodes of both are resampled."""
    values = np.array([float(statistic(*pair)) for pair in zip(samples, others, strict=True)])
    low, high = seed_interval(values) if len(values) > 1 else _bootstrap((samples[0], others[0]), statistic)
    return Estimate(float(values.mean()), float(low), float(high))


def sign_flip(differences: np.ndarray) -> tuple[float, float]:
    """Two-sided p that paired differences [N] are symmetric about zero, by flipping their signs.

    Exact over all 2^N patterns where they are no more than `FLIPS`, else from that many (Ernst, 2004).

    Returns:
        p, and the least p that can be attained.
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
    """For each arm the p value of its mean difference to the baseline, for the arm that one may pick.

    If no arm differed, any labelling of all the scores would be as probable. The p of the most striking
    arm is the share of labellings in which the *largest* difference of any arm is at least its own, so
    that picking it is paid for. Every other arm is tested likewise among those that are no more striking than
    it, because scores of arms that do differ would widen the null; its p is at least that of the arms
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
    """In how many ways scores can be dealt out to groups of these sizes."""
    return math.factorial(sum(sizes)) // math.prod(math.factorial(size) for size in sizes)


def _deal(left: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to deal indices out to groups of these sizes, one group after the other."""
    if len(sizes) == 1:
        yield left
        return
    for chosen in combinations(left, sizes[0]):
        rest = tuple(i for i in left if i not in chosen)
        yield from (chosen + others for others in _deal(rest, sizes[1:]))


def _bootstrap(samples: Samples, statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    """BCa interval of a statistic of strata, which are resampled apart; NaN where a stratum has one value."""
    count = min(np.shape(sample)[-1] for sample in samples)
    if count < 2:
        missing = np.full(np.shape(samples[0])[:-1], np.nan)
        return missing, missing
    # A resample scatters less than the truth, by (n - 1) / n, and knows it less than t does: reach further
    # out by as much (Hesterberg, 2015, arXiv 1411.5279, section 3.1).
    reach = scipy.special.stdtrit(count - 1, (1 + CONFIDENCE) / 2) * np.sqrt(count / (count - 1))
    level = 2 * scipy.stats.norm.cdf(reach) - 1
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        result = scipy.stats.bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            batch=100,
            vectorized=True,
            axis=-1,
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(0),
        )
    # BCa is undefined where leaving out any one value changes nothing, as of constants: percentiles are not.
    tail = (1 - level) / 2
    low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail], axis=-1)
    found = result.confidence_interval
    return np.where(np.isnan(found.low), low, found.low), np.where(np.isnan(found.high), high, found.high)
