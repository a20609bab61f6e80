"""The selectivity meter against numbers worked out by hand, by scipy and by planted sinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import KINDS, analysed
from scipy.spatial.distance import jensenshannon

from app.lab import selectivity as tab
from app.lab.display.selectivity import warnings_of
from drople.selectivity import effective_number, meter, vanilla_divergence, what_if
from drople.tokens.dropout import DropoutSettings
from drople.tokens.normalise import NORMALISE

PUBLISHED = DropoutSettings()


def layer_of(blend, p=None):
    """A layer whose every signal is `blend` (T,), after a class token without importance."""
    one = analysed().images["adapted"].layers[0]
    share = np.concatenate([[0.0], np.asarray(blend) / np.sum(blend)]).astype("f4")[None]
    content = share > 0
    given = np.zeros_like(share) if p is None else np.concatenate([[0.0], p])[None].astype("f4")
    return replace(
        one, shares=dict.fromkeys(one.shares, share), blend=share, content=content,
        eligible=content, probability=given,
    )  # fmt: skip


@pytest.fixture
def flat(generator):
    """Importance of 100 tokens that differ a little."""
    return np.linspace(0.8, 1.2, 100)


def test_tokens_protected_alike_count_as_many():
    assert effective_number(np.full(7, 0.3)) == pytest.approx(7)


def test_one_token_protected_alone_counts_as_one():
    assert effective_number(np.array([0.0, 0.4, 0.0])) == pytest.approx(1)


def test_where_all_drop_with_the_highest_p_none_is_protected():
    assert effective_number(np.zeros(5)) == 0


def test_a_half_and_two_quarters_count_by_their_entropy():
    # entropy of (1/2, 1/4, 1/4) is 1.5 ln 2, and exp of it 2^1.5
    assert effective_number(np.array([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)


def test_the_divergence_is_scipys():
    p = np.array([0.1, 0.25, 0.5, 0.45])
    mean = p.mean()
    expected = [jensenshannon([q, 1 - q], [mean, 1 - mean], base=2) ** 2 for q in p]
    assert vanilla_divergence(p) == pytest.approx(np.mean(expected))


def test_one_p_for_all_does_not_diverge():
    assert vanilla_divergence(np.full(9, 0.37)) == pytest.approx(0, abs=1e-12)


def test_certain_drops_and_keeps_in_halves_diverge_as_far_as_they_can():
    # H(1/4) - H(1/2) / 2, the same for every token
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert vanilla_divergence(np.array([0.0, 1.0])) == pytest.approx(quarter - 0.5)


def test_decisions_differ_as_often_as_a_shared_draw_says():
    p = np.random.default_rng(0).uniform(0.1, 0.5, 50)
    u = np.random.default_rng(1).random((20_000, 50))
    drawn = ((u < p) != (u < p.mean())).mean()
    found = meter(layer_of(np.ones(50), p), 0.5)
    assert found.differing == pytest.approx(drawn, abs=2e-3)


def test_a_meter_reads_the_p_of_tokens_that_may_drop(flat):
    p = np.linspace(0.1, 0.5, 100)
    found = meter(layer_of(flat, p), 0.5)
    assert (found.low, found.high) == pytest.approx((0.1, 0.5))
    assert found.spread == pytest.approx(p.std())
    assert found.mean == pytest.approx(0.3)
    assert found.eligible == 100


@pytest.mark.parametrize("kind", ["ordinary", "modular prompts", "coupled prompts, no bridge"])
def test_the_published_normalisation_gives_the_p_of_the_analysis(kind):
    one = analysed(kind)
    for trace in (one.images["adapted"], one.texts["adapted"]):
        for layer in trace.layers:
            again = what_if(layer, one.settings.dropout, "minmax")
            if layer.probability is None:
                assert again.probability is None
            else:
                np.testing.assert_allclose(again.probability, layer.probability, atol=1e-6)


def test_a_planted_sink_raises_the_warning_and_is_cured_without_it(flat):
    sink = flat.copy()
    sink[40] = 60.0
    one = analysed()
    hit = what_if(layer_of(sink), PUBLISHED, "minmax")
    assert "In 1 of 1 layers (1) more than 90 % of the tokens get nearly p_max" in warnings_of(
        one, [hit], 0
    )
    cured = what_if(layer_of(sink), PUBLISHED, "no_sinks")
    assert "In none of 1 layers" in warnings_of(one, [cured], 0)
    assert cured.probability[0, 41] == pytest.approx(0.1)
    assert meter(cured, 0.5).protected > 5 * meter(hit, 0.5).protected


def test_flat_importance_raises_no_warning(flat):
    one = what_if(layer_of(flat), PUBLISHED, "minmax")
    assert "In none of 1 layers" in warnings_of(analysed(), [one], 0)


def test_without_a_sink_excluding_sinks_changes_nothing(flat):
    plain, without = (what_if(layer_of(flat), PUBLISHED, n) for n in ("minmax", "no_sinks"))
    np.testing.assert_allclose(plain.probability, without.probability)


@pytest.mark.parametrize("normalisation", NORMALISE)
def test_the_order_of_tokens_stays_whatever_the_normalisation(flat, normalisation):
    rng = np.random.default_rng(3)
    blend = rng.permutation(flat)
    p = what_if(layer_of(blend), PUBLISHED, normalisation).probability[0, 1:]
    assert (np.diff(p[np.argsort(blend)]) <= 1e-7).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("branch", [tab.PICTURE, tab.TEXT])
def test_every_kind_of_analysis_is_measured_or_says_why_not(kind, branch):
    one = analysed(kind)
    for other in ("", "rank", "no_sinks"):
        figure, said, table = tab.draw(one, 0, branch, other)
        assert said
        assert "nan" not in str(table).lower()
        if figure is None:
            assert table["data"] == []
