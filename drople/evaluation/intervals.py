"""Bootstrap intervals of paired differences, over test images, with the trained models fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from drople.evaluation.protocols import Column

RESAMPLES = 2000
_AT_ONCE = 100  # resamples in memory


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % percentile interval, in percent points."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A difference of two methods, in percent points, and what resampling made of it."""

    estimate: float
    resampled: np.ndarray  # (R,)

    def interval(self) -> Interval:
        low, high = np.quantile(self.resampled, [0.025, 0.975])
        return Interval(self.estimate, float(low), float(high))


def mean_difference(differences: list[Difference]) -> Difference:
    """The mean over data sets, whose images are independent of each other."""
    return Difference(
        float(np.mean([d.estimate for d in differences])),
        np.mean([d.resampled for d in differences], axis=0),
    )


def score(accuracies: np.ndarray, harmonic: bool) -> np.ndarray:
    """A column's figure from the accuracies (..., exams), in their unit."""
    if not harmonic:
        return accuracies.mean(axis=-1)
    zero = (accuracies <= 0).any(axis=-1)
    inverse = (1 / np.where(accuracies > 0, accuracies, 1)).mean(axis=-1)
    return np.where(zero, 0, 1 / inverse)


def paired_difference(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    column: Column,
    samples: Mapping[str, str],
    *,
    resamples: int = RESAMPLES,
) -> Difference:
    """First minus second on the same test images, each averaged over its seeds.

    Args:
        first, second: exam -> hits (seeds, I) bool; the numbers of seeds may differ.
        samples: exam -> which pictures it shows; exams over the same ones are resampled together.
    """
    names = column.exams

    def figure(hits: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> np.ndarray:
        parts = [weights[samples[name]] @ hits[name].T.astype(float) for name in names]
        return 100 * score(np.stack(parts, axis=-1), column.harmonic).mean(axis=-1)  # (R,)

    sizes = {samples[name]: first[name].shape[1] for name in names}
    whole = {sample: np.full((1, size), 1 / size) for sample, size in sizes.items()}
    drawn = [
        figure(first, weights) - figure(second, weights) for weights in _weights(sizes, resamples)
    ]
    estimate = figure(first, whole) - figure(second, whole)
    return Difference(float(estimate[0]), np.concatenate(drawn))


def _weights(sizes: Mapping[str, int], resamples: int) -> Iterator[dict[str, np.ndarray]]:
    """How often each image is drawn, as shares (R, I) that sum to 1, a few resamples at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        yield {
            sample: rng.multinomial(size, np.full(size, 1 / size), size=count) / size
            for sample, size in sizes.items()
        }
