"""Patches on the photograph, and strips of maps."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from app.figures import patches
from app.figures.theme import Scale

SCALE = Scale(0.0, 1.0, "something")


@pytest.fixture
def photo():
    """A photograph of noise, (32, 32, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def values():
    """A map of 4 x 4 patches in [0, 1]."""
    return np.random.default_rng(1).random((4, 4))


def middle(panel, row, column, grid=4):
    """The colour in the middle of one patch of a panel."""
    step = len(panel) // grid
    return panel[row * step + step // 2, column * step + step // 2]


def test_an_overlay_is_a_panel_of_bytes(photo, values):
    panel = patches.overlay(photo, values, SCALE)
    assert panel.shape == (patches.SIDE, patches.SIDE, 3)
    assert panel.dtype == np.uint8


def test_opacity_zero_shows_the_grey_photograph(photo, values):
    panel = patches.overlay(photo, values, SCALE, opacity=0)
    np.testing.assert_array_equal(panel, patches.enlarge(patches.grey(photo)))


def test_opacity_one_shows_the_colours_of_the_patches(photo, values):
    panel = patches.overlay(photo, values, SCALE, opacity=1)
    for row, column in np.ndindex(4, 4):
        expected = SCALE.rgb(values[row, column])
        np.testing.assert_array_equal(middle(panel, row, column), expected)


def test_the_grey_photograph_has_no_colour(photo):
    grey = patches.grey(photo)
    assert grey.shape == photo.shape
    assert grey.dtype == np.uint8
    assert (grey == grey[..., :1]).all()


def test_hatching_changes_only_the_marked_patches(photo):
    panel, marked = patches.enlarge(photo), np.eye(4, dtype=bool)
    hatched = patches.hatch(panel, marked)
    inside = patches.to_panel(marked, len(panel))
    np.testing.assert_array_equal(hatched[~inside], panel[~inside])
    assert (hatched[inside] != panel[inside]).any(axis=-1).mean() > 0.9


def test_a_marked_patch_shows_stripes_and_not_its_value(photo, values):
    marked = np.eye(4, dtype=bool)
    low = patches.overlay(photo, values * 0, SCALE, opacity=1, marked=marked)
    high = patches.overlay(photo, values * 0 + 1, SCALE, opacity=1, marked=marked)
    inside = patches.to_panel(marked, len(low))
    assert len(np.unique(low[inside].reshape(-1, 3), axis=0)) == 2
    np.testing.assert_array_equal(
        (low[inside] == 70).all(axis=-1), (high[inside] == 70).all(axis=-1)
    )


def test_a_patch_that_is_not_a_number_is_grey(photo, values):
    values[1, 2] = np.nan
    panel = patches.overlay(photo, values, SCALE, opacity=1)
    np.testing.assert_array_equal(middle(panel, 1, 2), [128, 128, 128])


@pytest.mark.parametrize(
    "draw",
    [
        lambda p, v, m: patches.overlay(p, v, SCALE, marked=m),
        lambda p, v, m: patches.hatch(patches.enlarge(p), m),
        lambda p, v, m: patches.strip(p, [v, v], SCALE),
        lambda p, v, m: patches.outline(patches.enlarge(patches.grey(p)), m),
    ],
)
def test_drawing_leaves_its_inputs_alone(photo, values, draw):
    given = (photo, values, np.eye(4, dtype=bool))
    before = copy.deepcopy(given)
    draw(*given)
    for after, expected in zip(given, before, strict=True):
        np.testing.assert_array_equal(after, expected)


def test_a_strip_has_a_tile_for_each_map_four_a_row(photo, values):
    one, other = [values] * 6, [*[values] * 5, 1 - values]
    first, second = (patches.strip(photo, maps, SCALE) for maps in (one, other))
    changed = (first != second).any(axis=-1)
    step = patches.TILE + patches.GAP
    last = np.s_[patches.GAP + step : 2 * step, patches.GAP + step : 2 * step]  # row 2, column 2
    assert changed[last].any()
    changed[last] = False
    assert not changed.any()
