"""Sentences made from numbers: what they say, and what they admit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, with_prediction

from app.markdown import plain_text
from app.wording.sentences import (
    disguise_sentence,
    headline,
    place,
    provenance_line,
)


def test_the_headline_names_the_likeliest_class_of_each_condition():
    analysis = with_prediction(analysed(), "vanilla", [0.1, 0.4, 0.2])
    said = headline(analysis)
    assert [*said] == ["frozen", "adapted", "vanilla", "iwtd"]
    p = analysis.predictions["vanilla"].probabilities[1]
    assert said["vanilla"] == f"dog {p:.2f}"


def test_what_rests_on_one_seed_is_called_one_draw():
    assert "one draw, seed 0" in provenance_line(analysed())
    assert "8 draws, seeds 0 to 7" in provenance_line(analysed(), 8)
    assert "draw" not in provenance_line(analysed("frozen only"))
    assert "no dropout" in provenance_line(analysed(), None)


def test_the_provenance_names_weights_and_versions():
    said = provenance_line(analysed())
    known = analysed().provenance
    for part in ("backbone_hash", "prompts_hash"):
        assert known[part][:6] in said
    assert f"drople {known['drople']}" in said
    assert "prompts" not in provenance_line(analysed("frozen only"))


def test_a_token_is_placed_by_row_and_column_from_one():
    assert place(0, (4, 4)) == "row 1, column 1"
    assert place(7, (4, 4)) == "row 2, column 4"
    assert place(16, (4, 4)) == "prompt P1"
    assert place(19, (4, 4)) == "prompt P4"


def with_blend(layer, blend, p_min=0.1, p_max=0.5):
    """The layer with another blend on its content, and IWTD's p for it."""
    whole = np.zeros_like(layer.blend)
    whole[layer.content] = blend
    known = whole[layer.content]
    level = (whole - known.min()) / (known.max() - known.min())
    p = np.where(layer.eligible, p_max - level * (p_max - p_min), 0)
    return replace(layer, blend=whole, probability=p)


def test_a_planted_sink_is_warned_of_by_its_place():
    layer = analysed().images["adapted"].layers[0]
    blend = np.full(layer.content.sum(), 0.01)
    blend[5] = 1 - blend[6:].sum() - blend[:5].sum()  # row 2, column 2
    said = disguise_sentence(analysed(), with_blend(layer, blend))
    assert "sink token at row 2, column 2" in said
    assert "vanilla dropout in disguise" in said


def test_selective_scores_give_no_warning():
    layer = analysed().images["adapted"].layers[0]
    blend = np.linspace(1, 2, layer.content.sum())
    assert disguise_sentence(analysed(), with_blend(layer, blend / blend.sum())) == ""


def test_one_p_for_all_is_said_to_be_near_vanilla():
    layer = analysed("all dropped").images["adapted"].layers[0]
    assert "vanilla dropout" in disguise_sentence(analysed("all dropped"), layer)


@pytest.mark.parametrize("mark", list(r"\`*_{}[]<>()#+-.!|$~"))
def test_a_mark_of_markdown_is_escaped(mark):
    assert plain_text(f"a{mark}b") == f"a\\{mark}b"
