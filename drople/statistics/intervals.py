"""95 % intervals: Wilson's of a rate, Student's of a mean, and a prediction interval."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri, stdtrit

UPPER = 0.975  # quantile at the upper end of a two-sided 95 % interval


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a rate, in [0, 1]; (0, 1) without a draw."""
    if count == 0:
        return 0.0, 1.0
    z = float(ndtri(UPPER))
    rate, weight = hits / count, z**2 / count
    middle = (rate + weight / 2) / (1 + weight)
    half = z * np.sqrt(rate * (1 - rate) / count + weight / (4 * count)) / (1 + weight)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The t-interval of the mean of values (n,); None for fewer than two."""
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, UPPER))
    half = quantile * float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def prediction_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The t-distribution's prediction interval of one more value; None for fewer than two (n,)."""
    mean = mean_interval(values)
    if mean is None:
        return None
    half = (mean[1] - mean[0]) / 2 * np.sqrt(len(values) + 1)
    return float(values.mean() - half), float(values.mean() + half)
