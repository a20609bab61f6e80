"""Strategies: how likely each token is dropped."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import evidence
from tiny import noise_pixels

from drople import STRATEGIES, DropoutSettings
from drople.tokens.importance import SignalWeights
from drople.tokens.normalise import NORMALISE
from drople.tokens.strategies import (
    Evidence,
    ImportanceWeighted,
    Inverse,
    NoDropout,
    SideBySide,
    Vanilla,
    drop_rate,
    shift_to_rate,
)


def image_records(model, dropout=None, **changes):
    return list(model.image_layers(noise_pixels(), score=True, dropout=dropout, **changes))


def test_iwtd_maps_the_blend_linearly_onto_the_range():
    p = ImportanceWeighted(0.1, 0.5).probability(evidence([0.0, 0.25, 0.5, 1.0]))
    torch.testing.assert_close(p, torch.tensor([[0.5, 0.4, 0.3, 0.1]]))


@pytest.mark.parametrize("normalisation", NORMALISE)
def test_more_important_tokens_are_dropped_less(normalisation, generator):
    scores = torch.rand(2, 30, generator=generator)
    p = ImportanceWeighted(normalisation=normalisation).probability(evidence(scores))
    falling = p.gather(1, scores.argsort(dim=-1))
    assert (falling.diff(dim=-1) <= 0).all()
    assert (falling[:, 0] > falling[:, -1]).all()


@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12),
    low=st.floats(0, 1),
    span=st.floats(0, 1),
    normalisation=st.sampled_from([*NORMALISE]),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_probabilities_stay_in_their_range(scores, low, span, normalisation):
    high = low + (1 - low) * span
    p = ImportanceWeighted(low, high, normalisation=normalisation).probability(evidence(scores))
    assert (p >= low - 1e-6).all()
    assert (p <= high + 1e-6).all()


@pytest.mark.parametrize("normalisation", ["minmax", "minmax_eligible", "robust"])
def test_equal_importance_drops_all_with_the_highest_probability(normalisation):
    iwtd = ImportanceWeighted(0.1, 0.5, normalisation=normalisation)
    torch.testing.assert_close(iwtd.probability(evidence([0.2] * 5)), torch.full((1, 5), 0.5))


def test_minmax_ranges_over_all_content():
    content = torch.tensor([[False, True, True, True]])
    eligible = torch.tensor([[False, False, True, True]])
    seen = evidence([0.0, 1.0, 0.2, 0.6], content, eligible)
    p = ImportanceWeighted(0.0, 1.0).probability(seen)
    torch.testing.assert_close(p[0, 1:], torch.tensor([0.0, 1.0, 0.5]))


def test_minmax_may_range_over_eligible_tokens_only():
    content = torch.tensor([[True, True, True]])
    eligible = torch.tensor([[False, True, True]])
    iwtd = ImportanceWeighted(0.1, 0.5, normalisation="minmax_eligible")
    p = iwtd.probability(evidence([1.0, 0.2, 0.6], content, eligible))
    torch.testing.assert_close(p[0, 1:], torch.tensor([0.5, 0.1]))


def test_rank_is_not_flattened_by_one_sink():
    iwtd = ImportanceWeighted(0.1, 0.5, normalisation="rank")
    p = iwtd.probability(evidence([0.001, 0.002, 0.003, 0.004, 0.99]))
    torch.testing.assert_close(p, torch.tensor([[0.5, 0.4, 0.3, 0.2, 0.1]]))


def test_one_sink_flattens_the_published_range():
    p = ImportanceWeighted(0.1, 0.5).probability(evidence([0.001, 0.002, 0.003, 0.99]))
    assert (p[0, :3] > 0.499).all()


@pytest.mark.parametrize(
    ("name", "weights"), [("self", (1, 0, 0)), ("cls", (0, 1, 0)), ("cross", (0, 0, 1))]
)
def test_one_signal_alone_is_iwtd_with_that_weight(model, name, weights):
    record = image_records(model)[0]
    rows = record.layout.droppable.expand(3, -1)
    seen = Evidence(0, record.importance, record.layout.content.expand(3, -1), rows)
    alone = STRATEGIES[name](DropoutSettings()).probability(seen)
    iwtd = STRATEGIES["iwtd"](DropoutSettings(weights=SignalWeights(*weights)))
    assert torch.equal(alone, iwtd.probability(seen))


def test_inverse_deals_the_same_values_in_reversed_rank(generator):
    scores = torch.rand(2, 20, generator=generator)
    eligible = torch.rand(2, 20, generator=generator) < 0.7
    seen = evidence(scores, eligible=eligible)
    iwtd = ImportanceWeighted()
    p, inverse = iwtd.probability(seen), Inverse(iwtd).probability(seen)
    for row in range(2):
        ours, theirs = p[row, eligible[row]], inverse[row, eligible[row]]
        assert torch.equal(ours.sort().values, theirs.sort().values)
        assert torch.equal(ours.argsort(), theirs.argsort(descending=True))


def test_inverse_has_the_rate_of_iwtd(generator):
    seen = evidence(torch.rand(3, 25, generator=generator))
    iwtd = ImportanceWeighted()
    rates = [drop_rate(s.probability(seen), seen.eligible) for s in (iwtd, Inverse(iwtd))]
    torch.testing.assert_close(*rates)


def test_vanilla_drops_all_alike():
    p = STRATEGIES["vanilla"](DropoutSettings(p=0.25)).probability(evidence([0.1, 0.9]))
    assert p.tolist() == [[0.25, 0.25]]


def test_matched_vanilla_drops_each_row_at_the_rate_of_iwtd(generator):
    eligible = torch.rand(3, 20, generator=generator) < 0.6
    seen = evidence(torch.rand(3, 20, generator=generator), eligible=eligible)
    p = STRATEGIES["vanilla-matched"](DropoutSettings()).probability(seen)
    iwtd = STRATEGIES["iwtd"](DropoutSettings()).probability(seen)
    for row in range(3):
        mean = iwtd[row, eligible[row]].mean()
        torch.testing.assert_close(p[row, eligible[row]], mean.expand(int(eligible[row].sum())))


def test_the_rate_is_the_mean_over_eligible_tokens():
    p = torch.tensor([[0.2, 0.4, 0.9], [0.5, 0.5, 0.5]])
    eligible = torch.tensor([[True, True, False], [False, False, False]])
    torch.testing.assert_close(drop_rate(p, eligible), torch.tensor([0.3, 0.0]))


@given(
    p=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12),
    rate=st.floats(0, 1),
    masked=st.integers(0, 2),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_shift_reaches_its_rate_and_keeps_the_order(p, rate, masked):
    before = torch.tensor(p + [0.5] * masked)
    eligible = torch.tensor([True] * len(p) + [False] * masked)
    after = shift_to_rate(before, eligible, rate)
    assert float(after[eligible].double().mean()) == pytest.approx(rate, abs=1e-6)
    assert (after[before.argsort()].diff() >= 0).all()


def test_a_shift_adds_one_constant_where_nothing_is_clipped():
    after = shift_to_rate(torch.tensor([0.2, 0.3, 0.7]), torch.ones(3, dtype=torch.bool), 0.5)
    torch.testing.assert_close(after, torch.tensor([0.3, 0.4, 0.8]))


def test_a_matched_row_takes_the_rate_of_its_reference(generator):
    strategies = (NoDropout(), Vanilla(0.9), ImportanceWeighted(0.1, 0.5))
    scores = torch.rand(1, 20, generator=generator).expand(3, -1)
    p = SideBySide(strategies, {1: 2}).probability(evidence(scores))
    assert not p[0].any()
    torch.testing.assert_close(p[1], p[2].mean().expand(20), rtol=0, atol=1e-6)
    assert torch.equal(p[2], ImportanceWeighted(0.1, 0.5).probability(evidence(scores))[2])


def test_unmatched_rows_keep_their_own_probability():
    p = SideBySide((Vanilla(0.9), Vanilla(0.2))).probability(evidence([[0.5, 0.5]] * 2))
    torch.testing.assert_close(p, torch.tensor([[0.9, 0.9], [0.2, 0.2]]))
