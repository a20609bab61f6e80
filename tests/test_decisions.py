"""Counts of two dropouts' decisions, and the reason chosen where they coincide: planted p."""

from __future__ import annotations

import numpy as np
import pytest

from drople.decisions import Masks, count_layers, count_tokens, mean_p, most_differing, reason_of

LIMITS = {"p_min": 0.1, "p_max": 0.5}
UNEVEN = np.linspace(1, 3, 20)
CLOSE = np.linspace(0.28, 0.3, 20)


def planted():
    """Two draws of one layer and four tokens; the last token is gone for B in the second draw."""
    p_a, p_b = np.array([0.1, 0.2, 0.5, 0.4]), np.full(4, 0.3)
    eligible_b = np.array([[[1, 1, 1, 1]], [[1, 1, 1, 0]]], bool)
    a = Masks(
        np.array([[[0, 0, 1, 1]], [[0, 1, 1, 1]]], bool),
        np.ones((2, 1, 4), bool),
        np.tile(p_a, (2, 1, 1)),
    )
    b = Masks(
        np.array([[[1, 0, 1, 0]], [[0, 0, 1, 0]]], bool),
        eligible_b,
        np.where(eligible_b, p_b, np.nan),
    )
    return a, b


def test_a_layer_counts_what_both_might_still_drop():
    (one,) = count_layers(*planted())
    assert (one.decisions, one.differ, one.both) == (7, 3, 2)
    assert (one.dropped_a, one.dropped_b, one.only_a, one.only_b) == (4, 3, 2, 1)
    # The last token counts once: (0.1 + 0.2 + 0.5) * 0.3 twice and 0.4 * 0.3.
    assert one.chance_both == pytest.approx(2 * 0.8 * 0.3 + 0.12)


def test_a_token_counts_the_draws_in_which_it_was_eligible():
    found = count_tokens(*planted())
    np.testing.assert_allclose(found.difference, [[-0.2, -0.1, 0.2, 0.1]])
    np.testing.assert_allclose(found.differ, [[0.5, 0.5, 0, 1]])
    np.testing.assert_allclose(found.rate_a, [[0, 0.5, 1, 1]])
    np.testing.assert_allclose(found.rate_b, [[0.5, 0, 1, 0]])


def test_a_token_that_was_never_eligible_has_no_number():
    a, b = planted()
    gone = Masks(b.dropped & False, b.eligible & False, b.probability)
    found = count_tokens(a, gone)
    assert np.isnan([found.difference, found.differ, found.rate_b]).all()
    assert np.isfinite(found.rate_a).all()


def test_the_bound_is_reached_by_p_at_both_ends():
    p = np.array([0.1] * 3 + [0.5] * 9)
    bound = most_differing(p.mean(), 0.1, 0.5)
    assert bound == pytest.approx(np.abs(p - p.mean()).mean())
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = rng.uniform(0.1, 0.5, 12)
        assert np.abs(other - other.mean()).mean() <= most_differing(other.mean(), 0.1, 0.5) + 1e-9


def test_one_token_that_takes_the_range_is_named():
    p = np.array([0.48] * 6 + [0.1] + [0.5] * 12 + [0.49])
    found = reason_of(p, UNEVEN, **LIMITS)
    assert (found.kind, found.token) == ("one_token", 6)
    assert found.share == pytest.approx((0.48 - 0.1) / 0.4)


def test_a_narrow_range_says_how_much_it_could_change():
    found = reason_of(CLOSE, UNEVEN, p_min=0.28, p_max=0.3)
    assert found.kind == "narrow"
    assert found.share == pytest.approx(2 * 0.01 * 0.01 / 0.02)


def test_flat_importance_is_the_reason_before_any_other():
    p = np.where(np.arange(20) == 3, 0.1, 0.5)
    assert reason_of(p, np.linspace(1, 1.01, 20), **LIMITS).kind == "flat"


def test_a_wide_and_even_spread_has_no_reason():
    assert reason_of(np.linspace(0.1, 0.5, 20), UNEVEN, **LIMITS) is None


def test_tokens_that_cannot_be_dropped_are_no_reason():
    p = np.where(np.arange(20) < 19, np.nan, 0.3)
    assert reason_of(p, UNEVEN, **LIMITS) is None


def test_the_rates_of_draws_set_the_bound():
    found = reason_of(CLOSE, UNEVEN, p_min=0.28, p_max=0.3, rates=np.array([0.29, 0.3]))
    assert found.share == pytest.approx(0.01 / 2)
    assert reason_of(CLOSE, UNEVEN, **LIMITS, rates=np.array([0.3])) is None


def test_mean_p_is_over_what_is_eligible():
    a, b = planted()
    np.testing.assert_allclose(mean_p(a), [[0.3], [0.3]])
    np.testing.assert_allclose(mean_p(b), [[0.3], [0.3]])
    gone = Masks(b.dropped, b.eligible & False, b.probability)
    assert np.isnan(mean_p(gone)).all()
