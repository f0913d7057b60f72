"""What a sample of episodes shows, with intervals."""

from typing import Any

import numpy as np
from scipy import stats

from remdm.evaluation.episodes import Episodes

RESAMPLES = 2000


def mean_interval(values: np.ndarray, seed: int = 0, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values [N] (Efron and Tibshirani, 1993).

    A constant sample has an interval of no width.
    """
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def summarise(episodes: Episodes, achievements: tuple[str, ...]) -> dict[str, Any]:
    """Means and 95 % bootstrap intervals of returns, lengths and every achievement's rate.

    Of achievements also `count`, the episodes that unlock it.
    """

    def mean(values: np.ndarray) -> dict[str, float]:
        low, high = mean_interval(values)
        return {"mean": float(np.mean(values)), "low": low, "high": high}

    return {
        "episodes": len(episodes.episode_return),
        "return": mean(episodes.episode_return) | {"std": float(np.std(episodes.episode_return))},
        "length": mean(episodes.length),
        "achievements_per_episode": mean(episodes.achievements.sum(axis=1)),
        "achievements": {
            name: mean(unlocked) | {"count": int(np.sum(unlocked))}
            for name, unlocked in zip(achievements, episodes.achievements.T, strict=True)
        },
    }
