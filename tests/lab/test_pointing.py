"""The pointing game: boxes as they are typed or clicked, peaks and chance by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from analysed import analysed

from app.figures.patches import SIDE
from app.lab import pointing as tab
from app.lab.display.pointing import boxed_photo, pointing_sentence, pointing_table
from drople.errors import SettingsError
from drople.lab.pointing import Box, point

LEFT_HALF = Box(0, 0, 0.5, 1)


def test_a_box_is_typed_in_percent():
    assert Box.read("10, 20 60;80 %") == Box(0.1, 0.2, 0.6, 0.8)
    assert Box.read("  ") is None
    assert Box.read(str(Box(0.125, 0, 0.5, 1))) == Box(0.125, 0, 0.5, 1)


@pytest.mark.parametrize("typed", ["1 2 3", "a b c d", "60 20 10 80", "0 0 0 5", "0 0 10 101"])
def test_what_is_no_box_is_said(typed):
    with pytest.raises(SettingsError, match="left, top, right, bottom"):
        Box.read(typed)


def test_two_corners_in_any_order_are_one_box():
    assert Box.between((0.7, 0.2), (0.3, 0.9)) == Box(0.3, 0.2, 0.7, 0.9)


def test_the_patches_inside_are_those_whose_centre_is():
    inside = Box(0, 0, 0.3, 0.4).inside((4, 4))  # centres at 1/8, 3/8, 5/8, 7/8
    assert np.argwhere(inside).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(("at", "hit"), [((1, 0), 1), ((1, 3), 0)])
def test_a_peak_hits_where_it_lies_inside(at, hit):
    values = np.zeros((4, 4))
    values[at] = 1
    found = point(values, LEFT_HALF)
    assert (found.peak, found.hit) == (at, hit)


def test_tied_peaks_hit_in_part_and_a_flat_map_has_none():
    values = np.zeros((4, 4))
    values[0, 0] = values[0, 3] = 2
    assert point(values, LEFT_HALF).hit == 0.5
    assert point(np.ones((4, 4)), LEFT_HALF) is None
    assert point(np.full((4, 4), np.nan), LEFT_HALF) is None


def test_random_peaks_hit_as_often_as_chance_is_said_to():
    box = Box(0.2, 0.1, 0.8, 0.6)
    maps = np.random.default_rng(0).random((4000, 4, 4))
    hits = np.mean([point(values, box).hit for values in maps])
    assert hits == pytest.approx(box.inside((4, 4)).mean(), abs=0.03)


def test_rows_and_words_name_map_and_chance():
    maps = {"iwtd": np.eye(4) * [4, 3, 2, 1], "centre": np.ones((4, 4))}
    rows = pointing_table(analysed(), maps, LEFT_HALF)["data"]
    assert rows[0][1:] == ["1, 1", "yes"]
    assert rows[1][1] == "no peak"
    assert "with 50 %" in pointing_sentence(maps, LEFT_HALF)


def click(x, y):
    return SimpleNamespace(index=[x, y])


def test_two_clicks_make_a_box():
    corner, typed, photo = tab.clicked(analysed(), None, click(0.25 * SIDE, 0.5 * SIDE))
    assert corner == (0.25, 0.5)
    assert (photo.value is not None) and typed["__type__"] == "update"
    corner, typed, _ = tab.clicked(analysed(), corner, click(0.75 * SIDE, 0.0))
    assert (corner, typed) == (None, "25, 0, 75, 50")


def test_a_click_in_line_with_the_first_waits_for_another():
    corner, *_ = tab.clicked(analysed(), (0.25, 0.5), click(0.25 * SIDE, 9))
    assert corner == (0.25, 0.5)


def test_the_drawn_box_is_where_it_was_asked_for():
    plain, boxed = (boxed_photo(analysed(), box) for box in (None, Box(0.25, 0.25, 0.75, 0.75)))
    changed = np.argwhere((plain != boxed).any(axis=2))
    assert changed.min() == pytest.approx(SIDE / 4, abs=8)
    assert changed.max() == pytest.approx(3 * SIDE / 4, abs=8)


@pytest.mark.parametrize("kind", ["ordinary", "frozen only", "many classes"])
def test_the_view_draws_without_a_model(kind):
    assert "No box" in tab.draw(analysed(kind), 0, "")[1]
    _, said, table = tab.draw(analysed(kind), 0, "0 0 50 100")
    assert "By chance" in said
    assert len(table["data"]) >= 3
    assert "four numbers" in tab.draw(analysed(kind), 0, "box")[1]


def test_a_class_without_a_map_is_said():
    many = analysed("many classes")
    hidden = next(i for i in range(len(many.classes)) if i not in many.maps.classes)
    assert "holds no Grad" in tab.draw(many, hidden, "0 0 50 50")[1]
