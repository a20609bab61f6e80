"""The token card: every number can be worked out again from the analysis."""

from __future__ import annotations

import numpy as np
import pytest
from analysed import KINDS, analysed, ask

from app.figures.token_card import chosen_patch, patch_at
from app.lab import token_card as tab
from app.wording.token_card import card_rows, card_sentence
from drople.lab.token_card import token_card
from drople.tokens.draws import SeededDraws
from drople.tokens.dropout import OFFICIAL_CODE, DropoutSettings
from drople.tokens.importance import SignalWeights

WEIGHTED = DropoutSettings(weights=SignalWeights(1.0, 2.0, 0.5), p_min=0.05, p_max=0.7)


@pytest.fixture(scope="module")
def weighted():
    """An analysis with unequal weights and a range of its own."""
    return ask(dropout=WEIGHTED)


@pytest.mark.parametrize("token", [1, 7, 16, 17, 20])
def test_the_sum_of_an_image_token_recomputes(weighted, token):
    for step, layer in zip(
        token_card(weighted, "image", token), weighted.images["iwtd"].layers, strict=True
    ):
        share = {n: float(s[0, token]) for n, s in layer.shares.items()}
        blend = (share["s_self"] + 2 * share["s_cls"] + 0.5 * share["s_cross"]) / 3.5
        scope = layer.blend[0][layer.content[0]].astype(float)
        level = (blend - scope.min()) / (scope.max() - scope.min())
        p = 0.7 - level * 0.65
        assert step.blend == pytest.approx(blend, abs=1e-6)
        assert step.level == pytest.approx(level, abs=1e-5)
        for part in step.parts:
            assert part.raw / part.total == pytest.approx(part.share, abs=1e-6)
        if step.p is not None:
            assert step.p == pytest.approx(p, abs=1e-6)
            assert step.p == pytest.approx(float(layer.probability[0, token]), abs=1e-6)
            assert step.u == float(layer.uniform[0, token])
            assert step.dropped == bool(layer.dropped[0, token])


def test_the_raw_signals_are_the_attention_itself():
    one = ask(keep_attention=True)
    layer = one.images["iwtd"].layers[1]
    step = token_card(one, "image", 5)[1]
    heads = layer.attention[0].astype(float)  # (H, N, N)
    raw = {part.name: part.raw for part in step.parts}
    others = [j for j in range(1, heads.shape[1]) if j != 5]
    assert raw["s_cls"] == pytest.approx(heads[:, 0, 5].mean(), abs=1e-3)
    assert raw["s_self"] == pytest.approx(heads[:, 5, others].max(axis=-1).mean(), abs=1e-3)


def test_a_text_token_draws_what_the_seed_and_the_class_say(weighted):
    step = token_card(weighted, "text", 2, row=1)[0]
    u = SeededDraws([0], "text", ["dog"]).uniform(0, (1, 10))[0, 2]
    assert step.u == pytest.approx(float(u))
    assert step.p == pytest.approx(float(weighted.texts["adapted"].layers[0].probability[1, 2]))


def test_the_class_phrase_may_not_be_dropped(weighted):
    words = weighted.texts["adapted"].words[0]
    steps = token_card(weighted, "text", len(words) - 2)
    assert all(step.p is None and step.dropped is None for step in steps)
    assert all(step.blend > 0 for step in steps)


def test_nothing_is_drawn_where_no_dropout_acts():
    steps = token_card(analysed("shallow dropout"), "image", 3)
    assert [step.p is None for step in steps] == [False, False, True, True]


def test_a_hidden_token_is_not_drawn_again():
    hidden = analysed("hidden tokens")
    layers = hidden.images["iwtd"].layers
    token = int(np.flatnonzero(layers[0].dropped[0][:17])[0])
    steps = token_card(hidden, "image", token)
    assert steps[0].dropped is True
    assert steps[1].p is None


def test_a_hidden_token_says_since_when():
    hidden = analysed("hidden tokens")
    first = hidden.images["iwtd"].layers[0]
    token = int(np.flatnonzero(first.dropped[0])[0])
    steps = token_card(hidden, "image", token)
    rows = card_rows(steps, 0.1, 0.5, minmax=True)
    assert [row[-1] for row in rows] == ["u < p: dropped", *["hidden since layer 1"] * 3]
    assert card_sentence("it", steps, 0, text=False).startswith(
        "One draw (seed 0): it is dropped after layer 1, and stays hidden."
    )
    kept = token_card(analysed(), "image", token)
    assert not any("hidden" in row[-1] for row in card_rows(kept, 0.1, 0.5, minmax=True))


def test_a_click_hits_the_patch_under_it():
    assert patch_at(0, 0, (14, 14)) == (0, 0)
    assert patch_at(447, 33, (14, 14)) == (1, 13)
    assert patch_at(448, 448, (14, 14)) == (13, 13)


def test_the_chosen_patch_alone_keeps_its_light():
    one = analysed()
    panel = chosen_patch(one, 1, 2)
    step = len(panel) // 4
    inside = panel[step + 8 : 2 * step - 8, 2 * step + 8 : 3 * step - 8]
    assert inside.mean() > 1.5 * panel[3 * step :, :step].mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [tab.PATCH, tab.PROMPT, tab.TEXT])
def test_every_kind_of_analysis_has_a_card_or_says_why_not(kind, which):
    one = analysed(kind)
    _, said, table = tab.draw(one, 0, which, 2, 3, 99)
    tab.draw_choices(one, 0, which)
    if not one.adapted:
        assert "nothing to drop" in said
    elif table["data"]:
        assert len(table["data"][0]) == len(table["headers"])
    assert "<" not in said.replace("\\<", "")


def test_the_official_code_may_drop_the_start_of_a_text():
    steps = token_card(ask(dropout=OFFICIAL_CODE, drop_text=True), "text", 0)
    assert len(steps) == 4


def test_the_token_that_is_read_has_no_importance():
    one = analysed()
    end = len(one.texts["adapted"].words[0]) - 1
    steps = token_card(one, "text", end)
    assert not any(step.scored or step.blend for step in steps)
    table = tab.draw(one, 0, tab.TEXT, 1, 1, end)[2]
    assert {row[1] for row in table["data"]} == {"no importance: the tower is read here"}
