"""Intervals that cover what they say, tests that are as large as they say, and values worked by hand."""

import numpy as np
import pytest
from scipy import stats

from remdm.analysis.statistics import improvement, improvement_estimate, iqm, profile, sign_flip
from remdm.base import estimates
from remdm.base.estimates import episode_interval, estimate, rate, seed_interval

CASES = 2000


@pytest.fixture
def few_resamples(monkeypatch):
    """Coverage hardly depends on their number, and 2,000 cases of each are drawn."""
    monkeypatch.setattr(estimates, "RESAMPLES", 400)


def coverage(interval, truth):
    low, high = interval
    assert low.shape == (CASES,)
    return np.mean((low <= truth) & (truth <= high))


# Returns of an episode are sums of achievements and a little health: nearly Poisson, and somewhat skewed.
def returns(rng, mean, count):
    return rng.poisson(mean, (CASES, count)) + rng.normal(0, 0.3, (CASES, count))


def test_interval_over_episodes_covers_the_mean(few_resamples):
    """Standard error of the coverage: 0.5 %."""
    rng = np.random.default_rng(0)
    assert 0.93 <= coverage(episode_interval(returns(rng, 5.0, 60)), 5.0) <= 0.97


def test_interval_over_episodes_covers_the_mean_over_seeds_that_were_trained(few_resamples):
    """Seeds of different ability, of different numbers of episodes: they are strata, and count the same."""
    rng = np.random.default_rng(1)
    samples = [returns(rng, mean, count) for mean, count in ((2.0, 30), (5.0, 40), (8.0, 25))]
    assert 0.93 <= coverage(episode_interval(*samples), 5.0) <= 0.97


def test_interval_over_episodes_covers_the_interquartile_mean(few_resamples):
    rng = np.random.default_rng(2)
    shape = stats.gamma(4.0)
    truth = np.mean(shape.ppf(np.linspace(0.25, 0.75, 10001)))
    sample = shape.rvs((CASES, 60), random_state=rng)
    assert 0.93 <= coverage(episode_interval(sample, statistic=iqm), truth) <= 0.97


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_over_seeds_covers_where_resampling_seeds_does_not(seeds):
    """Seeds scatter about 6 by 0.7, episodes within them by 2.2: how would another training turn out?"""
    rng = np.random.default_rng(seeds)
    episodes = rng.normal(6 + rng.normal(0, 0.7, (CASES, seeds, 1)), 2.2, (CASES, seeds, 50))
    means = episodes.mean(axis=-1)
    assert 0.93 <= coverage(seed_interval(means), 6.0) <= 0.97
    # The percentile bootstrap over seeds, as if these few were all there are.
    drawn = means[:, rng.integers(0, seeds, (500, seeds))].mean(axis=-1)
    assert coverage(np.quantile(drawn, [0.025, 0.975], axis=-1), 6.0) < 0.9


def test_no_interval_over_three_seeds_covers_a_training_that_may_collapse():
    """One training in ten earns nothing. The docstring's warning, so that nobody takes it for a guarantee."""
    rng = np.random.default_rng(0)
    means = rng.normal(6, 0.3, (CASES, 3)) * (rng.random((CASES, 3)) > 0.1)
    assert coverage(seed_interval(means), 5.4) < 0.9


def test_interval_of_a_rate_covers():
    """Wilson's, of 200 episodes, exactly: also near the edge, where a bootstrap's has hardly a width."""
    counts = np.arange(201)
    found = [rate([np.arange(200) < count]) for count in counts]
    low, high = np.array([(each.low, each.high) for each in found]).T
    for truth in (0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 0.95):
        covered = stats.binom.pmf(counts, 200, truth)[(low <= truth) & (truth <= high)].sum()
        assert 0.93 <= covered <= 0.97, truth


def test_interval_of_the_probability_of_improvement_covers(few_resamples):
    """400 cases: standard error 1.1 %, three of them."""
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(0.5 / np.sqrt(2))
    found = [
        improvement_estimate([rng.normal(0.5, 1, 30)], [rng.normal(0, 1, 40)]) for _ in range(400)
    ]  # fmt: skip
    assert 0.917 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.983


def test_one_seed_or_several_decide_what_an_interval_is_of():
    sample = np.random.default_rng(0).normal(5, 1, 50)
    assert estimate([sample])[1:] == pytest.approx([float(x) for x in episode_interval(sample)])
    several = [sample, sample + 1, sample + 2]
    # Means differ by one: t(2 df) = 4.303 of 1 / sqrt(3).
    found = estimate(several)
    assert found.value == pytest.approx(sample.mean() + 1)
    assert found.high - found.value == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    # Each seed counts the same, however many episodes it played.
    assert estimate([np.zeros(1000), np.ones(10)]).value == 0.5


def test_constants_and_single_values():
    assert estimate([np.full(9, 3.0)]) == (3.0, 3.0, 3.0)
    assert estimate([np.full(9, 3.0)], iqm) == (3.0, 3.0, 3.0)
    value, low, high = estimate([np.array([2.0])])
    assert value == 2.0
    assert np.isnan([low, high]).all()
    # The middle half is all ones, and leaving one value out changes nothing.
    assert estimate([np.r_[np.zeros(3), np.ones(30), np.full(3, 9.0)]], iqm).value == 1.0
    assert not np.isnan(estimate([np.r_[np.zeros(3), np.ones(30), np.full(3, 9.0)]], iqm)).any()


def test_interquartile_mean_by_hand():
    assert iqm(np.array([100, 1, 2, 3, 4, 5, 60, -100.0])) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_probability_of_improvement_by_hand():
    # 3 beats 1 and 2, ties with 3; 1 ties with 1: (2.5 + 0.5) / 6.
    assert improvement(np.array([3, 1]), np.array([1, 2, 3])) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 20), rng.integers(1, 6, 30)
    assert improvement(x, y) == pytest.approx(stats.mannwhitneyu(x, y).statistic / 600)
    assert improvement(x, y) + improvement(y, x) == pytest.approx(1)
    assert improvement_estimate([x, x], [x, x]).value == pytest.approx(0.5)


def test_performance_profile_by_hand():
    values, low, high = profile([np.array([1, 2, 2, 5])], np.array([0, 2, 3, 6]))
    assert values.tolist() == [1, 0.75, 0.25, 0]
    assert (low <= values + 1e-12).all()
    assert (values <= high + 1e-12).all()
    # Two seeds that agree have no width, two that do not have all of it.
    values, low, high = profile([np.array([1, 3]), np.array([1, 1])], np.array([1, 2]))
    assert (values[0], low[0], high[0]) == (1, 1, 1)
    assert (values[1], low[1], high[1]) == (0.25, 0, 1)


def test_sign_flip_by_hand():
    # Of 8 patterns of 1, 2, 3 two reach |sum| = 6; of 1, 2, -3 all reach |sum| = 0.
    assert sign_flip(np.array([1, 2, 3])) == (0.25, 0.25)
    assert sign_flip(np.array([1, 2, -3]))[0] == 1.0
    assert sign_flip(np.zeros(3))[0] == 1.0
    # Too many patterns to try: the least p is that of the patterns that are drawn.
    p, floor = sign_flip(np.ones(64))
    assert p == floor == 2 / 10000


def test_sign_flip_rejects_as_often_as_it_says():
    """Where nothing differs: 5 % of 500 cases, standard error 1 %, three of them. Exact, of 10 pairs."""
    rng = np.random.default_rng(0)
    rejected = np.mean([sign_flip(pairs)[0] <= 0.05 for pairs in rng.laplace(size=(500, 10))])
    assert 0.02 <= rejected <= 0.08


def test_pairs_show_a_difference_that_worlds_hide():
    """Worlds scatter by 3, policies differ by 0.5 in each: unpaired, 40 worlds would not show it."""
    rng = np.random.default_rng(0)
    worlds = rng.normal(6, 3, 40)
    first, second = worlds + 0.5 + rng.normal(0, 0.5, 40), worlds + rng.normal(0, 0.5, 40)
    assert stats.mannwhitneyu(first, second).pvalue > 0.1
    p, _ = sign_flip(first - second)
    assert p < 0.01
    difference = estimate([first - second])
    assert difference.low < 0.5 < difference.high
    assert difference.low > 0
