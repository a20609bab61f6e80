"""Figures: names that look like markup, dropped tokens, maps; none changes its analysis."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from analysed import KINDS, ODD_NAMES, analysed

from app.figures import cams, importance, patches, theme
from app.figures.paper import figure_bytes, paper_figure
from app.figures.theme import Scale
from app.overview.payload import Overview

TAG = re.compile(r"</?([a-zA-Z]\w*)")
SCALE = Scale(0.0, 1.0, "something")


def cam_panel(analysis, maps, condition, *, index, opacity):
    """One condition's map of one class over the photograph."""
    return patches.overlay(
        analysis.pixels, maps.values[condition][index], cams.cam_scale(maps, index),
        opacity=opacity, marked=maps.unavailable[condition],
    )  # fmt: skip


def middle(panel, row, column, grid=4):
    """The colour in the middle of one patch of a panel."""
    step = len(panel) // grid
    return panel[row * step + step // 2, column * step + step // 2]


# --- names that look like markup ---


@pytest.mark.parametrize("name", ODD_NAMES)
def test_html_shows_a_name_as_text(name):
    pieces = [
        theme.colour_bar(Scale(0, 1, name)),
        importance.cell(name, 0.5, SCALE),
    ]
    tags = {tag for piece in pieces for tag in TAG.findall(piece)}
    assert tags <= {"span", "div", "b", "i"}


def test_the_words_of_a_class_cannot_become_markup():
    analysis = analysed("odd names")
    for target in range(len(ODD_NAMES)):
        for branch in ("frozen", "adapted"):
            table = importance.text_table(analysis.texts[branch], target, "blend", scale=SCALE)
            assert {*TAG.findall(table)} <= {"div", "table", "tr", "th", "td", "span", "b", "i"}


# --- dropped tokens ---


@pytest.mark.parametrize("condition", ["vanilla", "iwtd"])
def test_exactly_the_dropped_patches_are_hatched(condition):
    analysis = analysed()
    one = analysis.images[condition].layers[1]
    panel = patches.dropped_panel(analysis, condition, 1)
    photo = patches.enlarge(analysis.pixels)
    gone = patches.to_panel(one.patches(one.dropped), len(panel))
    np.testing.assert_array_equal(panel[~gone], photo[~gone])
    assert (panel[gone] != photo[gone]).any(axis=-1).mean() > 0.9


def test_a_patch_hidden_before_is_grey_and_not_hatched():
    analysis = analysed("hidden tokens")
    layers = analysis.images["iwtd"].layers
    before = layers[0].patches(layers[0].dropped) | layers[1].patches(layers[1].dropped)
    np.testing.assert_array_equal(layers[2].hidden_patches(), before)
    panel = patches.dropped_panel(analysis, "iwtd", 2)
    for row, column in np.argwhere(before):
        np.testing.assert_array_equal(middle(panel, row, column), (90, 90, 90))
    assert before.any()


def test_where_no_dropout_acts_the_photograph_is_whole():
    analysis = analysed("shallow dropout")
    panel = patches.dropped_panel(analysis, "iwtd", 3)
    np.testing.assert_array_equal(panel, patches.enlarge(analysis.pixels))


# --- class activation maps ---


def test_the_panels_of_a_class_share_one_scale():
    analysis = analysed()
    scale = cams.cam_scale(analysis.maps, 1)
    for condition, maps in analysis.maps.values.items():
        panel = cam_panel(analysis, analysis.maps, condition, index=1, opacity=1)
        free = ~analysis.maps.unavailable[condition]
        for row, column in np.argwhere(free):
            expected = scale.rgb(maps[1, row, column])
            np.testing.assert_array_equal(middle(panel, row, column), expected)


def test_the_scale_of_a_class_covers_every_condition():
    maps = analysed().maps
    for index in range(len(maps.classes)):
        scale = cams.cam_scale(maps, index)
        assert scale.high == max(float(np.abs(v[index]).max()) for v in maps.values.values())
        assert scale.low == -scale.high


def test_equal_maps_give_equal_pictures():
    analysis = analysed()
    same = analysis.maps.values["frozen"]
    nowhere = np.zeros((4, 4), dtype=bool)
    maps = replace(
        analysis.maps,
        values={"frozen": same, "iwtd": same.copy()},
        unavailable={"frozen": nowhere, "iwtd": nowhere},
    )
    panels = [cam_panel(analysis, maps, c, index=0, opacity=0.5) for c in ("frozen", "iwtd")]
    np.testing.assert_array_equal(*panels)


@pytest.mark.parametrize(
    ("method", "low_is_zero"), [("gradcam++", True), ("layercam", True), ("eigencam", False)]
)
def test_a_method_without_a_sign_has_a_scale_without_a_middle(method, low_is_zero):
    maps = replace(analysed().maps, method=method)
    scale = cams.cam_scale(maps, 0)
    assert not scale.diverging
    assert (scale.low == 0) == low_is_zero


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_degenerate_map_still_gives_a_picture(value):
    analysis = analysed()
    values = {c: v * 0 + value for c, v in analysis.maps.values.items()}
    maps = replace(analysis.maps, values=values)
    panel = cam_panel(analysis, maps, "frozen", index=0, opacity=1)
    assert panel.shape == (patches.SIDE, patches.SIDE, 3)
    assert len(np.unique(panel.reshape(-1, 3), axis=0)) == 1


# --- the analysis itself ---


@pytest.mark.parametrize("kind", KINDS)
def test_no_picture_changes_its_analysis(kind):
    analysis = analysed(kind)
    before = pickle.dumps(analysis)
    last = "iwtd" if analysis.adapted else "frozen"
    importance.text_table(analysis.texts["frozen"], 0, "blend", scale=SCALE)
    own = Overview(analysis).shown(())
    figure_bytes(paper_figure(analysis, own, layer=1, index=0), "pdf")
    cam_panel(analysis, analysis.maps, last, index=0, opacity=0.5)
    patches.dropped_panel(analysis, last, 0)
    assert pickle.dumps(analysis) == before
