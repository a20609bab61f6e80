"""Token importance: values, scales and cells."""

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


def test_the_scale_of_p_runs_from_p_min_to_p_max():
    analysis = analysed()
    scale = importance.scale_of(analysis, analysis.images["adapted"], "p")
    assert (scale.low, scale.high) == (0.1, 0.5)


def test_the_words_of_a_class_have_a_row_for_each_layer():
    table = importance.text_table(analysed().texts["adapted"], 2, "blend", scale=SCALE)
    words = analysed().texts["adapted"].words[2]
    assert len(re.findall("<tr>", table)) == 4
    assert table.count("<td") == 4 * len(words)
    assert words[1:5] == ("P1", "P2", "P3", "P4")
