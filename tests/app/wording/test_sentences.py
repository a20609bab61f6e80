"""Sentences made from numbers: what they say, and what they admit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, with_prediction

from app.markdown import plain_text
from app.wording.sentences import (
    cam_sentence,
    disguise_sentence,
    draw_sentence,
    dropped_sentence,
    headline,
    importance_sentence,
    learnt_classes,
    place,
    provenance_line,
)
from drople.measures import agreement, drop_counts, top_kept

GRID = (4, 4)


def maps_with(values, method="gradcam"):
    """The class maps of an analysis where the frozen branch's first map is `values`."""
    maps = analysed().maps
    frozen = maps.values["frozen"].copy()
    frozen[0] = values
    return replace(maps, method=method, values={**maps.values, "frozen": frozen})


# --- the answer ---


def test_the_headline_names_the_likeliest_class_of_each_condition():
    analysis = with_prediction(analysed(), "vanilla", [0.1, 0.4, 0.2])
    said = dict(headline(analysis, 0))
    assert [*said] == ["frozen", "adapted", "vanilla", "iwtd"]
    p = analysis.predictions["vanilla"].probabilities[1]
    assert said["vanilla"] == f"dog {p:.2f}"


def test_a_draw_that_changes_the_answer_is_said_to_flip_it():
    analysis = with_prediction(analysed(), "adapted", [0.9, 0.1, 0.1])
    analysis = with_prediction(analysis, "vanilla", [0.1, 0.9, 0.1])
    analysis = with_prediction(analysis, "iwtd", [0.9, 0.1, 0.1])
    said = draw_sentence(analysis)
    assert "Vanilla dropout flips the answer to dog" in said
    assert "IWTD keeps the answer" in said


def test_what_rests_on_one_seed_is_called_one_draw():
    analysis = analysed()
    for said in (draw_sentence(analysis), dropped_sentence(analysis, 0, None)):
        assert "one draw (seed 0)" in said
    assert "one draw" in provenance_line(analysis)


def test_what_the_prompts_learnt_is_told_from_what_is_new_to_them():
    listed = ("cat", "Elephant", "car")
    assert learnt_classes(listed, ("elephant", "side of a car")) == (("Elephant",), ("cat", "car"))


def test_dropping_a_token_of_a_stem_is_said_to_hide_less():
    plain = analysed()
    stem = replace(plain, provenance=plain.provenance | {"has_stem": True})
    assert "hides less than in a plain ViT" in dropped_sentence(stem, 0, None)
    assert "hides less" not in dropped_sentence(plain, 0, None)


def test_without_prompts_the_page_says_how_to_get_some():
    said = draw_sentence(analysed("frozen only"))
    assert "only the frozen branch is shown" in said
    assert "python -m drople train" in said


def test_the_provenance_names_weights_and_versions():
    said = provenance_line(analysed())
    known = analysed().provenance
    for part in ("backbone_hash", "prompts_hash"):
        assert known[part][:6] in said
    assert f"drople {known['drople']}" in said
    assert "prompts" not in provenance_line(analysed("frozen only"))


# --- importance ---


def test_a_token_is_placed_by_row_and_column_from_one():
    layer = analysed().images["adapted"].layers[0]
    first, stop = layer.prompts
    assert place(layer, 1) == "row 1, column 1"
    assert place(layer, 8) == "row 2, column 4"
    assert place(layer, first) == "prompt P1"
    assert place(layer, stop - 1) == "prompt P4"


def test_the_most_important_token_is_named_with_its_share():
    layer = analysed().images["adapted"].layers[2]
    top = int(layer.blend[0].argmax())
    times = layer.blend[0, top] * layer.content.sum()
    said = importance_sentence(analysed(), "adapted", 2, "blend")
    assert place(layer, top) in said
    assert f"{times:.1f} times an even share" in said


def test_the_range_of_p_is_said():
    layer = analysed().images["adapted"].layers[1]
    p = layer.probability[layer.eligible]
    said = importance_sentence(analysed(), "adapted", 1, "p")
    assert f"p lies between {p.min():.2f} and {p.max():.2f}, {p.mean():.2f} on average" in said


def test_a_layer_without_dropout_says_so():
    analysis = analysed("shallow dropout")
    assert importance_sentence(analysis, "adapted", 3, "p") == "No dropout acts after layer 4."
    assert dropped_sentence(analysis, 3, None) == "No dropout acts after layer 4."


def test_prompts_without_a_bridge_say_that_s_cross_does_not_exist():
    said = importance_sentence(analysed("coupled prompts, no bridge"), "adapted", 0, "s_cross")
    assert "no bridge" in said


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
    said = importance_sentence(analysed("all dropped"), "adapted", 0, "blend")
    assert "IWTD is close to vanilla dropout here" in said or "in disguise" in said


# --- dropped tokens ---


def test_the_numbers_of_a_draw_are_those_of_its_layer():
    vanilla, iwtd = (analysed().images[c].layers[1] for c in ("vanilla", "iwtd"))
    said = dropped_sentence(analysed(), 1, None)
    for layer in (vanilla, iwtd):
        counts = drop_counts(layer)
        assert f"drops {counts.dropped} of {counts.eligible} tokens" in said
        assert f"keeps {100 * counts.mass_kept:.0f} % of the importance" in said
    assert f"overlap by {agreement(vanilla, iwtd).jaccard:.2f}" in said


def test_an_independent_measure_stands_beside_the_importance_kept():
    map_ = np.random.default_rng(0).random(GRID)
    said = dropped_sentence(analysed(), 0, map_)
    kept = top_kept(analysed().images["iwtd"].layers[0], map_)
    assert f"and {100 * kept:.0f} % of the top tenth of Grad-CAM patches" in said


# --- class activation maps ---


def test_the_peak_of_a_map_is_named():
    values = np.zeros(GRID)
    values[2, 1], values[0, 0] = 3, -1
    said = cam_sentence(maps_with(values), "frozen", 0)
    assert said == "Peak at row 3, column 2; 25 % speaks against."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (0.0, "Zero everywhere"),
        (-1.0, "Nothing speaks for the class"),
        (np.nan, "Not a number"),
    ],
)
def test_a_degenerate_map_is_said_in_words(values, words):
    assert words in cam_sentence(maps_with(np.full(GRID, values)), "frozen", 0)


def test_a_patch_that_is_gone_is_no_peak_and_does_not_count():
    values, gone = np.zeros(GRID), np.zeros(GRID, dtype=bool)
    values[2, 1], values[1, 1], values[0, 0] = 3, 1, -1
    gone[2, 1] = True
    maps = maps_with(values)
    maps = replace(maps, unavailable={**maps.unavailable, "frozen": gone})
    said = cam_sentence(maps, "frozen", 0)
    assert said == "Peak at row 2, column 2; 50 % speaks against."
    everywhere = replace(maps, unavailable={"frozen": np.ones(GRID, dtype=bool)})
    assert "All patches are dropped or hidden" in cam_sentence(everywhere, "frozen", 0)


def test_what_earlier_layers_have_hidden_is_said():
    analysis = analysed("hidden tokens")
    gone = [int((~analysis.images[c].layers[2].patches(
        analysis.images[c].layers[2].eligible)).sum()) for c in ("vanilla", "iwtd")]  # fmt: skip
    said = dropped_sentence(analysis, 2, None)
    assert min(gone) > 0
    assert f"{gone[0]} by Vanilla dropout, {gone[1]} by IWTD (grey)" in said
    assert "hidden" not in dropped_sentence(analysed(), 2, None)


@pytest.mark.parametrize("method", ["gradcam++", "layercam", "eigencam"])
def test_a_method_without_a_sign_says_nothing_of_evidence_against(method):
    said = cam_sentence(maps_with(-np.ones(GRID), method), "frozen", 0)
    assert "against" not in said
    assert "negative" not in said


# --- text for Markdown ---


@pytest.mark.parametrize("mark", list(r"\`*_{}[]<>()#+-.!|$~"))
def test_a_mark_of_markdown_is_escaped(mark):
    assert plain_text(f"a{mark}b") == f"a\\{mark}b"
