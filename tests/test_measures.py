"""Numbers beside the pictures, worked out by hand on four tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drople.measures import agreement, drop_counts, selectivity, top_kept
from drople.traces import LayerTrace


def trace(blend, probability, dropped, *, first=1):
    """One row of [CLS] and four patches; `first` is the first eligible token."""
    rows = [np.array([[0, *values]], dtype=float) for values in (blend, probability)]
    content = np.array([[False, True, True, True, True]])
    return LayerTrace(
        depth=0,
        shares={},
        totals={},
        blend=rows[0],
        content=content,
        eligible=content & (np.arange(5) >= first),
        probability=rows[1],
        uniform=None,
        dropped=np.array([[False, *dropped]]),
        norms=rows[0],
        prompts=(5, 5),
        grid=(2, 2),
        attention=None,
    )


EVEN = trace([0.1, 0.2, 0.3, 0.4], [0.5, 0.4, 0.3, 0.2], [True, False, False, True])


def test_drops_are_counted_with_the_importance_they_take():
    counts = drop_counts(EVEN)
    assert (counts.dropped, counts.eligible) == (2, 4)
    assert counts.rate == pytest.approx((0.5 + 0.4 + 0.3 + 0.2) / 4)
    assert counts.mass_kept == pytest.approx(0.2 + 0.3)


def test_only_eligible_tokens_count():
    counts = drop_counts(
        trace([0.1, 0.2, 0.3, 0.4], [0, 0.4, 0.3, 0.2], [False] * 3 + [True], first=2)
    )
    assert counts.eligible == 3
    assert counts.rate == pytest.approx(0.3)
    assert counts.mass_kept == pytest.approx(0.5 / 0.9)


def test_a_layer_without_dropout_drops_nothing():
    counts = drop_counts(replace(EVEN, probability=None, dropped=None))
    assert (counts.dropped, counts.rate, counts.mass_kept) == (0, 0.0, 1.0)


def test_agreement_is_intersection_over_union():
    other = trace([0.25] * 4, [0.3] * 4, [True, True, False, False])
    found = agreement(EVEN, other)
    assert found.jaccard == pytest.approx(1 / 3)
    # min(p) is 0.3, 0.3, 0.3, 0.2 and max(p) is 0.5, 0.4, 0.3, 0.3.
    assert found.by_chance == pytest.approx(1.1 / 1.5)


def test_agreement_by_chance_is_what_many_shared_draws_give():
    rng = np.random.default_rng(0)
    a, b = np.array([0.5, 0.4, 0.3, 0.2]), np.array([0.3] * 4)
    u = rng.random((100_000, 4))
    simulated = ((u < a) & (u < b)).sum() / ((u < a) | (u < b)).sum()
    other = trace([0.25] * 4, b, [False] * 4)
    assert agreement(EVEN, other).by_chance == pytest.approx(simulated, abs=0.01)


def test_two_empty_sets_agree():
    empty = trace([0.25] * 4, [0.0] * 4, [False] * 4)
    found = agreement(empty, empty)
    assert (found.jaccard, found.by_chance) == (1.0, 1.0)


def test_top_patches_are_those_of_the_highest_map():
    map_ = np.array([[9.0, 1.0], [2.0, 8.0]])  # the first and the last patch, both dropped
    assert top_kept(EVEN, map_, share=0.5) == 0.0
    assert top_kept(EVEN, -map_, share=0.5) == 1.0
    assert top_kept(EVEN, map_, share=0.75) == pytest.approx(1 / 3)


def test_one_sink_token_is_found():
    layer = trace([0.02, 0.9, 0.04, 0.04], [0.5, 0.1, 0.49, 0.49], [False] * 4)
    found = selectivity(layer, 0.1, 0.5)
    assert (found.sink, found.sink_share) == (2, pytest.approx(0.9))
    assert found.near_top == pytest.approx(3 / 4)


def test_spread_is_the_standard_deviation_of_the_probabilities():
    found = selectivity(EVEN, 0.2, 0.5)
    assert found.spread == pytest.approx(np.std([0.5, 0.4, 0.3, 0.2]))
    assert found.sink is None
    assert found.near_top == pytest.approx(1 / 4)


def test_a_layer_without_dropout_has_no_selectivity():
    assert selectivity(replace(EVEN, probability=None), 0.1, 0.5) is None
