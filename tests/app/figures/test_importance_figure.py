"""Token importance: values, scales, maps and cells."""

from __future__ import annotations

import re

import numpy as np
import pytest
from analysed import analysed

from app.figures import importance
from app.figures.theme import Scale

SCALE = Scale(0.0, 1.0, "something")


@pytest.mark.parametrize("kind", ["ordinary", "modular prompts", "text prompts alone"])
@pytest.mark.parametrize("signal", ["blend", "s_self", "s_cls"])
def test_multiples_of_an_even_share_average_to_one(kind, signal):
    traces = [*analysed(kind).images.values(), *analysed(kind).texts.values()]
    for layer in (one for trace in traces for one in trace.layers):
        means = np.nanmean(importance.values_of(layer, signal), axis=1)
        np.testing.assert_allclose(means, 1, atol=1e-4)


def test_tokens_without_an_importance_have_no_value():
    layer = analysed().images["adapted"].layers[0]
    known = np.isfinite(importance.values_of(layer, "blend"))
    np.testing.assert_array_equal(known, layer.content)
    assert not known[0, 0]  # the class token


def test_p_is_shown_where_a_dropout_would_act_and_nowhere_else():
    first, _, last, _ = analysed("shallow dropout").images["adapted"].layers
    np.testing.assert_array_equal(np.isfinite(importance.values_of(first, "p")), first.eligible)
    assert np.isnan(importance.values_of(last, "p")).all()


def test_a_signal_that_does_not_exist_has_no_values():
    layer = analysed("coupled prompts, no bridge").images["adapted"].layers[0]
    assert np.isnan(importance.values_of(layer, "s_cross")).all()


@pytest.mark.parametrize(
    ("kind", "condition", "bridge", "dropout"),
    [
        ("ordinary", "adapted", True, True),
        ("coupled prompts, no bridge", "adapted", False, True),
        ("frozen only", "frozen", False, False),
    ],
)
def test_only_signals_that_exist_are_offered(kind, condition, bridge, dropout):
    signals = importance.signals_of(analysed(kind).images[condition])
    assert signals[:3] == ["blend", "s_self", "s_cls"]
    assert ("s_cross" in signals, "p" in signals) == (bridge, dropout)


def test_all_layers_share_a_locked_scale():
    analysis = analysed()
    figures = [
        importance.layer_figure(analysis, "adapted", i, "blend", opacity=1, locked=True)
        for i in range(4)
    ]
    assert len({(one.data[0].zmin, one.data[0].zmax) for one in figures}) == 1


def test_unlocked_each_layer_has_a_scale_of_its_own():
    trace = analysed().images["adapted"]
    tops = {importance.scale_of(analysed(), trace, "blend", i).high for i in range(4)}
    assert len(tops) == 4


def test_the_scale_of_p_runs_from_p_min_to_p_max():
    analysis = analysed()
    scale = importance.scale_of(analysis, analysis.images["adapted"], "p", None)
    assert (scale.low, scale.high) == (0.1, 0.5)


def test_the_large_map_holds_the_values_of_its_layer():
    layer = analysed().images["frozen"].layers[2]
    figure = importance.layer_figure(analysed(), "frozen", 2, "s_cls", opacity=0.3, locked=False)
    expected = layer.patches(importance.values_of(layer, "s_cls"))
    np.testing.assert_allclose(figure.data[0].z, expected, rtol=1e-6)
    assert figure.data[0].opacity == 0.3


def test_hovering_tells_the_numbers_of_the_patch_under_the_pointer():
    layer = analysed().images["adapted"].layers[0]
    text = importance.hover_texts(layer)[2][3]
    token = 1 + 2 * 4 + 3
    raw = layer.shares["s_cls"][0, token] * layer.totals["s_cls"][0, 0]
    assert "row 3, column 4" in text
    assert f"s_cls: {raw:.4f}" in text
    assert f"p = {layer.probability[0, token]:.3f}" in text


def test_ranks_count_the_tokens_that_matter_more():
    layer = analysed().images["adapted"].layers[1]
    texts = importance.hover_texts(layer)
    for row, column in np.ndindex(4, 4):
        more = (layer.blend[0] > layer.blend[0, 1 + 4 * row + column]).sum()
        assert f"rank {more + 1} of {layer.content.sum()}" in texts[row][column]


@pytest.mark.parametrize("layer", range(4))
def test_every_prompt_token_of_a_layer_has_its_cell(layer):
    analysis = analysed("modular prompts")
    one = analysis.images["adapted"].layers[layer]
    html = importance.prompt_cells(analysis, "adapted", layer, "blend", SCALE)
    count = one.prompts[1] - one.prompts[0]
    assert re.findall(r"<b>(.*?)</b>", html) == [f"P{i + 1}" for i in range(count)]


def test_a_branch_without_prompt_tokens_says_so():
    frozen = importance.prompt_cells(analysed(), "frozen", 0, "blend", SCALE)
    adapted = importance.prompt_cells(analysed("text prompts alone"), "adapted", 0, "blend", SCALE)
    assert "frozen branch has no prompt tokens" in frozen
    assert "no prompt tokens" in adapted
    assert "frozen" not in adapted.lower()


def test_the_words_of_a_class_have_a_row_for_each_layer():
    table = importance.text_table(analysed(), "adapted", 2, "blend")
    words = analysed().texts["adapted"].words[2]
    assert len(re.findall("<tr>", table)) == 4
    assert table.count("<td") == 4 * len(words)
    assert words[1:5] == ("P1", "P2", "P3", "P4")


def test_all_layers_are_shown_as_one_sheet_of_tiles():
    sheet = importance.layers_strip(analysed(), "adapted", "blend", chosen=2, locked=True)
    assert sheet.shape == (162, 630, 4)
    assert sheet.dtype == np.uint8
