"""Estimates of means over episodes and seeds, with intervals.

A result is a sample of episodes for each training seed. Every statistic is computed for each seed's episodes
and averaged over seeds, so that each training has the same weight. There are two kinds of interval:

- over episodes: the uncertainty about the trained policies. Episodes are resampled within seeds (stratified
  bootstrap, Agarwal et al. 2021, arXiv 2108.13264, with seeds as strata). It does not cover other trainings.
- over seeds: the uncertainty about the mean of other trainings; it needs two seeds. Student's t of the seeds'
  values, which include the noise of their episodes. Resampling the seeds themselves, as is done for tens of
  runs, gives intervals that are far too narrow for three or five. The coverage of t is nominal if seeds are
  about normally distributed; if one training in ten collapses, no interval from a few seeds without a
  collapse covers that.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # parts such as `scipy.stats` are imported at first use, which takes half a second

CONFIDENCE = 0.95
RESAMPLES = 2000

Samples = Sequence[np.ndarray]  # for each seed, its episodes [N_s]
Statistic = Callable[..., Any]  # takes samples [..., N] and `axis`


class Estimate(NamedTuple):
    """A value and its interval."""

    value: float
    low: float
    high: float

    @property
    def percent(self) -> "Estimate":
        """The estimate of a share, in per cent."""
        return Estimate(*(100 * bound for bound in self))


def seed_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval of the mean over seeds, the last axis: [..., S] -> low, high [...]; S >= 2."""
    seeds = np.shape(values)[-1]
    middle, error = np.mean(values, -1), np.std(values, axis=-1, ddof=1) / np.sqrt(seeds)
    reach = scipy.special.stdtrit(seeds - 1, (1 + CONFIDENCE) / 2) * error
    return middle - reach, middle + reach


def episode_interval(*samples: np.ndarray, statistic: Statistic = np.mean) -> tuple[np.ndarray, np.ndarray]:
    """Stratified bootstrap (BCa: Efron, 1987) of the mean over strata of a statistic.

    Args:
        samples: the samples of each stratum, [..., N_s]; leading axes are independent cases.
        statistic: the statistic of one stratum.

    Returns:
        low and high, [...]; for constant samples, the constant.
    """

    def over_strata(*resampled: np.ndarray, axis: int) -> np.ndarray:
        return np.mean([statistic(sample, axis=axis) for sample in resampled], axis=0)

    return _bootstrap(samples, over_strata)


def estimate(samples: Samples, statistic: Statistic = np.mean) -> Estimate:
    """A statistic with its interval: over seeds if there are at least two, else over the seed's episodes."""
    values = np.array([float(statistic(sample)) for sample in samples])
    low, high = seed_interval(values) if len(values) > 1 else episode_interval(*samples, statistic=statistic)
    return Estimate(float(values.mean()), float(low), float(high))


def rate(samples: Samples) -> Estimate:
    """A probability with its interval: over seeds if there are two, else Wilson's (1927) over episodes.

    Args:
        samples: for each seed, whether the event happened in each episode.
    """
    values = np.array([np.mean(sample) for sample in samples])
    if len(values) > 1:
        low, high = np.clip(seed_interval(values), 0.0, 1.0)
    else:
        happened = scipy.stats.binomtest(int(np.sum(samples[0])), len(samples[0]))
        low, high = happened.proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(float(values.mean()), float(low), float(high))


def estimate_of_two(samples: Samples, others: Samples, statistic: Statistic) -> Estimate:
    """A statistic of two samples for each seed; with one seed, the episodes of both are resampled."""
    values = np.array([float(statistic(*pair)) for pair in zip(samples, others, strict=True)])
    low, high = seed_interval(values) if len(values) > 1 else _bootstrap((samples[0], others[0]), statistic)
    return Estimate(float(values.mean()), float(low), float(high))


def _bootstrap(samples: Samples, statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    """BCa interval of a statistic of strata, resampled independently; NaN if a stratum has one value."""
    count = min(np.shape(sample)[-1] for sample in samples)
    if count < 2:
        missing = np.full(np.shape(samples[0])[:-1], np.nan)
        return missing, missing
    # The variance of resamples is too small by (n - 1) / n, and unlike t they ignore that it is estimated:
    # widen the interval accordingly (Hesterberg, 2015, arXiv 1411.5279, section 3.1).
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
    # BCa is undefined if leaving out any one value changes nothing, as for constants; percentiles are not.
    tail = (1 - level) / 2
    low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail], axis=-1)
    found = result.confidence_interval
    return np.where(np.isnan(found.low), low, found.low), np.where(np.isnan(found.high), high, found.high)
