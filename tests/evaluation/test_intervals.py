"""Bootstrap intervals: what they cover, and what stays paired."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from drople.evaluation.bootstrap import Interval, difference, mean_difference, resample
from drople.evaluation.protocols import Column

ONE = Column("base", ("base",))
SAMPLES = {"base": "base", "novel": "novel"}


def draws(rng: np.random.Generator, share: float, images: int = 150) -> dict[str, np.ndarray]:
    """Hits of one seed, each right with the probability given."""
    return {"base": rng.random((1, images)) < share}


def compared(first, second, column=ONE, samples=SAMPLES, resamples=2000):
    pair = [resample(hits, samples, "pets", resamples=resamples) for hits in (first, second)]
    return difference(*pair, column)


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        pair = draws(rng, 0.7), draws(rng, 0.6)
        found = compared(*pair, resamples=300)
        covered += found.low <= 10 <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def test_identical_runs_differ_by_exactly_nothing():
    hits = draws(np.random.default_rng(0), 0.5)
    assert compared(hits, hits) == Interval(0, 0, 0)


def test_the_estimate_is_the_difference_of_the_mean_accuracies():
    first = {"base": np.array([[True, True, False, True], [True, False, False, True]])}
    second = {"base": np.array([[True, False, False, False]])}
    assert compared(first, second).estimate == pytest.approx(62.5 - 25)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    first = draws(rng, 0.5)
    alike = {"base": first["base"] ^ (rng.random((1, 150)) < 0.02)}
    paired = compared(first, alike)
    apart = compared(first, draws(rng, 0.5))
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)


def test_the_interval_covers_seeds_too():
    """Three tasks, three seeds whose accuracy scatters by 5 points: six degrees of freedom."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        pairs = []
        for task in ("pets", "cars", "dogs"):
            frozen = {"base": rng.random((1, 150)) < 0.5}
            learnt = {"base": rng.random((3, 150)) < 0.6 + 0.05 * rng.normal(size=(3, 1))}
            hits = learnt, frozen
            pairs.append(tuple(resample(one, SAMPLES, task, resamples=300) for one in hits))
        found = mean_difference(pairs, ONE)
        covered += found.low <= 10 <= found.high
    assert 0.91 <= covered / 300 <= 0.99


def test_the_spread_of_the_seeds_is_not_underestimated():
    """Rao and Wu's n - 1 draws: the variance of the mean of three is their variance over three."""
    accuracies = np.array([0.4, 0.5, 0.6])
    hits = {"base": np.arange(1000) < 1000 * accuracies[:, None]}
    seeds = resample(hits, SAMPLES, "pets").seeds[1:]
    assert (seeds @ accuracies).var() == pytest.approx(accuracies.var(ddof=1) / 3, rel=0.05)


def test_sets_of_the_same_pictures_are_resampled_together():
    rng = np.random.default_rng(0)
    a, b = draws(rng, 0.5)["base"], draws(rng, 0.5)["base"]
    both = Column("mean", ("base", "novel"))
    crossed = {"base": a, "novel": b}, {"base": b, "novel": a}  # the differences cancel
    together = compared(*crossed, both, {"base": "all", "novel": "all"})
    assert max(map(abs, astuple(together))) < 1e-9
    apart = compared(*crossed, both)
    assert apart.high - apart.low > 4


def test_pictures_of_different_tasks_are_drawn_independently():
    hits = draws(np.random.default_rng(0), 0.5)
    here, there = (resample(hits, SAMPLES, task).figure(ONE)[1:] for task in ("pets", "cars"))
    assert abs(np.corrcoef(here, there)[0, 1]) < 0.05


def test_the_harmonic_mean_of_no_hits_is_zero():
    none, some = ({"base": np.array([[v]]), "novel": np.array([[True]])} for v in (False, True))
    column = Column("harmonic mean", ("base", "novel"), harmonic=True)
    assert compared(some, none, column).estimate == 100


def test_a_column_can_tell_what_is_lost_against_another_exam():
    hits = {"base": np.array([[True, True]]), "novel": np.array([[True, False]])}
    lost = Column("novel minus base", ("novel",), less=("base",))
    assert resample(hits, SAMPLES, "pets").figure(lost)[0] == -50
