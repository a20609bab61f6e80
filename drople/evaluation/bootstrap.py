"""Bootstrap intervals of paired differences, over test images and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

from drople.evaluation.protocols import Column

RESAMPLES = 10_000
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile interval (95 % unless said), in percent points."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        # Adding 0 makes a rounded -0.00 a +0.00.
        cells = [f"{round(x, 2) + 0.0:+.2f}" for x in (self.estimate, self.low, self.high)]
        return f"{cells[0]} [{cells[1]}, {cells[2]}]"

    @property
    def word(self) -> str:
        """What it says of the first of two methods."""
        if round(self.low, 2) > 0:
            return "better"
        return "worse" if round(self.high, 2) < 0 else NO_DIFFERENCE


@dataclass(frozen=True)
class Resampled:
    """A method's accuracies on one task: first as measured, then R times resampled."""

    test_sets: tuple[str, ...]
    accuracy: np.ndarray  # (1 + R, seeds, test sets), percent
    seeds: np.ndarray  # (1 + R, seeds): the share of each seed, adding up to 1

    def figure(self, column: Column) -> np.ndarray:
        """A column (1 + R,), worked out for each seed and then averaged."""
        return (self.seeds * figure_of(self._of(column), column)).sum(axis=-1)

    def means(self, column: Column) -> np.ndarray:
        """The mean accuracy over seeds (1 + R, test sets) on each test set of a column."""
        return (self.seeds[..., None] * self._of(column)).sum(axis=1)

    def _of(self, column: Column) -> np.ndarray:
        return self.accuracy[..., [self.test_sets.index(name) for name in column.every]]


def resample(
    hits: Mapping[str, np.ndarray],
    samples: Mapping[str, str],
    task: str,
    *,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Draws test images and seeds with replacement.

    The draws depend on the task and on the numbers of images and seeds alone, so two methods on
    the same images, with the same seeds, stay paired.

    Args:
        hits: test set -> right or wrong (seeds, I).
        samples: test set -> which pictures it shows; those over the same ones are resampled
            together.
        task: whose images these are; those of different tasks are drawn independently.
    """
    parts = []
    for name, right in hits.items():
        counts = _drawn(f"{task} {samples[name]}", right.shape[1], resamples)
        parts.append(100 * (counts.astype(np.float32) @ right.T) / right.shape[1])
    count = len(next(iter(hits.values())))
    # One draw fewer than there are seeds: as many would make their spread (count - 1) / count of
    # what it is (Rao and Wu, "Resampling Inference with Complex Survey Data", JASA 1988).
    seeds = _drawn(f"{task} seeds", count, resamples, draws=max(count - 1, 1))
    shares = seeds / seeds.sum(axis=1, keepdims=True)
    return Resampled(tuple(hits), np.stack(parts, axis=-1).astype(float), shares)


def difference(
    first: Resampled, second: Resampled, column: Column, *, comparisons: int = 1
) -> Interval:
    """First minus second on one task; see `mean_difference` for `comparisons`."""
    return _interval(first.figure(column) - second.figure(column), comparisons)


def mean_difference(
    pairs: Sequence[tuple[Resampled, Resampled]], column: Column, *, comparisons: int = 1
) -> Interval:
    """First minus second over tasks; a harmonic mean is that of the averaged accuracies.

    So average the papers of the field (METHOD.md 5.4).

    Args:
        comparisons: how many intervals are to hold their values together in 95 % (Bonferroni).
    """
    first, second = (over_tasks([pair[i] for pair in pairs], column) for i in (0, 1))
    return _interval(first - second, comparisons)


def _interval(values: np.ndarray, comparisons: int) -> Interval:
    """Of differences (1 + R,): the measured one, then the resampled."""
    outside = 0.05 / comparisons
    low, high = np.quantile(values[1:], [outside / 2, 1 - outside / 2])
    return Interval(float(values[0]), float(low), float(high))


def over_tasks(tasks: Sequence[Resampled], column: Column) -> np.ndarray:
    """A column (1 + R,) from accuracies that are averaged over tasks first."""
    return figure_of(np.mean([task.means(column) for task in tasks], axis=0), column)


def figure_of(accuracies: np.ndarray, column: Column) -> np.ndarray:
    """A column's figure from the accuracies (..., all its test sets), in their unit."""
    if not column.harmonic:
        count = len(column.test_sets)
        less = accuracies[..., count:].mean(axis=-1) if column.less else 0
        return accuracies[..., :count].mean(axis=-1) - less
    zero = (accuracies <= 0).any(axis=-1)
    inverse = (1 / np.where(accuracies > 0, accuracies, 1)).mean(axis=-1)
    return np.where(zero, 0, 1 / inverse)


@lru_cache(maxsize=64)
def _drawn(what: str, size: int, resamples: int, *, draws: int | None = None) -> np.ndarray:
    """How often each of `size` things is drawn (1 + R, size); first, all of them once."""
    rng = np.random.default_rng(crc32(what.encode()))
    drawn = rng.multinomial(draws or size, np.full(size, 1 / size), size=resamples)
    return np.concatenate([np.ones((1, size)), drawn]).astype(np.uint8)
