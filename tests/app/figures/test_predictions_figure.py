"""The predictions as a figure and as a table."""

from __future__ import annotations

import numpy as np
import pytest
from analysed import analysed

from app.figures import predictions, theme
from app.wording import predictions as table


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "many classes", "three dropouts"])
def test_the_figure_shows_the_probabilities_of_the_analysis(kind):
    analysis = analysed(kind)
    shown = predictions.rows_shown(analysis, 0)
    figure = predictions.predictions_figure(analysis, 0)
    assert [one.name for one in figure.data] == [
        theme.CONDITION_NAMES[c] for c in analysis.conditions
    ]
    for one, said in zip(figure.data, analysis.predictions.values(), strict=True):
        np.testing.assert_array_equal(one.x, said.probabilities[shown])


@pytest.mark.parametrize("target", [0, 13, 29])
def test_at_most_ten_classes_are_shown_and_the_target_is_one(target):
    analysis = analysed("many classes")
    shown = predictions.rows_shown(analysis, target)
    assert len(shown) == len(set(shown)) == 10
    assert target in shown


def test_the_likeliest_class_comes_first():
    analysis = analysed("many classes")
    shown = predictions.rows_shown(analysis, 0)
    likely = np.maximum(*(analysis.predictions[c].probabilities for c in ("frozen", "adapted")))
    assert shown[0] == likely.argmax()
    assert (np.diff(likely[shown]) <= 0).all()


def test_the_table_of_predictions_holds_all_classes_likeliest_first():
    analysis = analysed("many classes")
    rows = table.predictions_table(analysis)
    likely = np.maximum(*(analysis.predictions[c].probabilities for c in ("frozen", "adapted")))
    shown = np.argsort(-likely, kind="stable")
    assert [row[0] for row in rows] == [analysis.classes[i] for i in shown]
    assert len(rows) == 30
    assert [row[1] for row in rows] == [
        f"{analysis.predictions['frozen'].probabilities[i]:.3f}" for i in shown
    ]


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "three dropouts"])
def test_every_row_of_the_predictions_has_a_value_under_each_header(kind):
    headers = table.table_headers(analysed(kind))
    rows = table.predictions_table(analysed(kind))
    assert {len(row) for row in rows} == {len(headers)}


def test_a_condition_has_one_colour_on_figures_and_chips():
    figure = predictions.predictions_figure(analysed(), 0)
    colours = [one.marker.color for one in figure.data]
    chips = [theme.chip(condition) for condition in analysed().conditions]
    assert all(colour in chip for colour, chip in zip(colours, chips, strict=True))
    assert len(set(colours)) == 4
