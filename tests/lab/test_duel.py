"""The duel: what a row counts, what a difference subtracts, and what equal p make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import KINDS, analysed, ask
from computed import views_of

from app.figures import duel as figures
from app.figures import sheets
from app.lab import duel as tab
from app.lab.question import Result
from app.wording import duel as wording
from drople.analysis import same_question
from drople.lab.duel import duel_rows, map_difference
from drople.lab.patch_maps import target_map
from drople.tokens.dropout import STRATEGIES, DropoutSettings

ALL = tuple(s for s in STRATEGIES if s not in ("none", "vanilla-matched"))


@pytest.fixture(scope="module")
def every():
    """All strategies beside each other at IWTD's rate."""
    return ask(strategies=ALL)


def test_a_row_counts_the_tokens_whose_draw_is_below_p(every):
    for layer in range(4):
        for row in duel_rows(every, ALL, layer, target=0):
            one = every.images[row.condition].layers[layer]
            by_hand = int((one.uniform[0] < one.probability[0])[one.eligible[0]].sum())
            assert (row.dropped, row.eligible) == (by_hand, int(one.eligible.sum()))


def test_matched_rows_have_one_rate(every):
    for layer in range(4):
        rates = [row.rate for row in duel_rows(every, ALL, layer, target=0)]
        np.testing.assert_allclose(rates, rates[0], atol=1e-6)


def test_equal_p_drop_the_same_tokens():
    even = ask(dropout=DropoutSettings(p_min=0.4, p_max=0.4))
    vanilla, iwtd = duel_rows(even, ("vanilla", "iwtd"), 0, target=0)
    assert (vanilla.jaccard, vanilla.by_chance) == pytest.approx((1.0, 1.0))
    assert vanilla.dropped == iwtd.dropped > 0


def test_the_overlap_is_of_sets_and_its_chance_of_their_p(every):
    row = duel_rows(every, ("inverse",), 1, target=0)[0]
    a, b = (every.images[c].layers[1] for c in ("inverse", "iwtd"))
    sets = [set(np.flatnonzero(one.dropped[0])) for one in (a, b)]
    assert row.jaccard == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
    pairs = list(zip(a.probability[0].tolist(), b.probability[0].tolist(), strict=True))
    expected = sum(min(pair) for pair in pairs) / sum(max(pair) for pair in pairs)
    assert row.by_chance == pytest.approx(expected, abs=1e-6)


def test_the_undropped_column_keeps_everything(every):
    row = duel_rows(every, ("adapted",), 0, target=0)[0]
    assert (row.dropped, row.rate, row.mass_kept, row.top_kept) == (0, 0.0, 1.0, 1.0)
    assert row.jaccard is None


def test_a_column_less_itself_is_zero_wherever_it_has_a_value(every):
    found = map_difference(every, "iwtd", "iwtd", target=0)
    gone = every.maps.unavailable["iwtd"]
    assert (found[~gone] == 0).all()
    assert np.isnan(found[gone]).all()


def test_a_difference_changes_its_sign_with_its_order(every):
    there, back = (
        map_difference(every, *p, target=1) for p in (("iwtd", "self"), ("self", "iwtd"))
    )
    np.testing.assert_array_equal(there, -back)


def test_no_map_no_difference():
    many = analysed("many classes")
    hidden = next(i for i in range(len(many.classes)) if i not in many.maps.classes)
    assert target_map(many, "iwtd", hidden) is None
    assert map_difference(many, "iwtd", "vanilla", target=hidden) is None
    assert duel_rows(many, ("iwtd",), 0, target=hidden)[0].top_kept is None


def test_more_columns_are_the_same_question_and_another_seed_is_not(every):
    assert same_question(every, analysed())
    assert not same_question(every, ask(seed=1))
    assert not same_question(every, analysed("shallow dropout"))


def test_the_scale_of_differences_is_symmetric_and_shared(every):
    scale = figures.difference_scale(every, ALL, 0)
    assert scale.low == -scale.high < 0
    for second in ALL[1:]:
        found = map_difference(every, ALL[0], second, target=0)
        assert np.nanmax(np.abs(found)) <= scale.high


def test_the_sheet_holds_a_column_a_condition_and_goes_on_below(every):
    few, many = (figures.duel_sheet(every, c, 0, 0) for c in (ALL[:3], ALL))
    tile = sheets.TILE
    assert few.shape[1] == 3 * tile + 2 * sheets.GAP
    assert many.shape[1] == 4 * tile + 3 * sheets.GAP
    assert many.shape[0] > 2 * few.shape[0] - 50


def test_a_name_is_text_and_never_markup():
    odd = analysed("odd names")
    said = wording.duel_sentence(odd, ("vanilla", "iwtd"), 0, 0)
    shown = tab.draw(odd, 0, None, ["vanilla", "iwtd"], True, 1)[2]
    assert "<" not in shown.replace("\\<", "")
    assert "one draw" in said.lower()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_analysis_is_drawn_or_says_why_not(kind):
    one = analysed(kind)
    matched = one.settings.matched
    wide, narrow = views_of(tab)
    shown = wide.draw(one, 0, None, ["adapted", "vanilla", "iwtd"], matched, 1)
    pair = narrow.draw(one, 0, None, matched, "iwtd", "vanilla")
    assert len(shown) == 4
    if one.adapted:
        assert len(shown[3]["data"]) == 3
        assert pair[0] is not None
    else:
        assert "nothing to drop" in shown[2]


def test_a_missing_column_is_asked_for():
    said = tab.draw(analysed(), 0, None, ["iwtd", "inverse"], True, 1)[2]
    assert "Press Compute to add Inverse IWTD" in said
    assert "press Compute" in tab.draw(analysed(), 0, None, ["iwtd"], False, 1)[2]


def test_columns_at_another_rate_are_not_shown(every):
    assert tab._known(analysed(), None, True) is analysed()
    assert tab._known(analysed(), every, True) is every
    assert tab._known(analysed(), every, False) is None


def test_further_columns_of_another_picture_are_not_shown(every):
    shown = views_of(tab)[0].draw(ask(seed=1), 0, Result(every, None, every), ["self"], True, 1)
    assert "Choose a column" in shown[2]
    shown = views_of(tab)[0].draw(analysed(), 0, Result(every, None, every), ["self"], True, 1)
    assert len(shown[3]["data"]) == 1


def test_rows_change_with_the_class_looked_at(every):
    one, two = (duel_rows(every, ("iwtd",), 0, target=target)[0] for target in (0, 1))
    said = every.predictions["iwtd"].probabilities
    assert (one.probability, two.probability) == pytest.approx((said[0], said[1]))
    assert replace(one, probability=0, top_kept=0) == replace(two, probability=0, top_kept=0)
