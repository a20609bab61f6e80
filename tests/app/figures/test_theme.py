"""Scales, their colours and their bars."""

from __future__ import annotations

import re

import numpy as np
import pytest

from app.figures import importance, theme
from app.figures.theme import Scale, one_sided, symmetric


def test_a_symmetric_scale_reaches_as_far_below_zero_as_above():
    scale = symmetric([np.array([-3.0, 1.0]), np.array([2.0])], "evidence")
    assert (scale.low, scale.high) == (-3.0, 3.0)
    values = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(scale.unit(values) + scale.unit(-values), 1)


def test_zero_is_nearly_white_on_a_symmetric_scale():
    colour = symmetric([np.array([-3.0, 1.0])], "evidence").rgb(np.array(0.0))
    assert colour.min() > 240


def test_a_one_sided_scale_starts_at_zero():
    scale = one_sided([np.array([0.5, 2.0]), np.array([4.0])], "strength")
    assert (scale.low, scale.high) == (0.0, 4.0)


def test_a_scale_without_width_draws_everything_in_the_middle():
    scale = symmetric([np.zeros((4, 4))], "evidence")
    np.testing.assert_array_equal(scale.unit(np.zeros((4, 4))), 0.5)


@pytest.mark.parametrize("diverging", [False, True])
def test_a_value_has_one_colour_on_plots_and_on_panels(diverging):
    scale = Scale(-1.0, 1.0, "x", diverging=diverging)
    for stop, colour in scale.plotly():
        said = [int(c) for c in re.findall(r"\d+", colour)]
        np.testing.assert_allclose(scale.rgb(np.array(2 * stop - 1)), said, atol=1)


def test_values_above_a_clipped_scale_have_its_top_colour():
    scale = Scale(0.0, 2.0, "x", clipped=True)
    np.testing.assert_array_equal(scale.rgb(np.array(9.0)), scale.rgb(np.array(2.0)))


def test_a_colour_bar_names_its_ends_and_its_meaning():
    bar = theme.colour_bar(Scale(-0.5, 0.5, "evidence in cosines", diverging=True))
    assert re.findall(r"<span>(.*?)</span>", bar) == ["\N{MINUS SIGN}0.50", "0", "0.50"]
    assert "evidence in cosines" in bar


def test_a_clipped_colour_bar_says_that_more_is_possible():
    assert "2.00 and more" in theme.colour_bar(Scale(0, 2, "x", clipped=True))
    assert "and more" not in theme.colour_bar(Scale(0, 2, "x"))


@pytest.mark.parametrize("diverging", [False, True])
def test_the_text_of_a_cell_stands_out_from_its_colour(diverging):
    scale = Scale(0.0, 1.0, "x", diverging=diverging)
    for value in np.linspace(0, 1, 101):
        cell = importance.cell("P1", value, scale)
        ground = [int(c) for c in re.search(r"rgb\((.*?)\)", cell)[1].split(",")]
        ink = bytes.fromhex(re.search(r";color:#(\w{6})", cell)[1])
        assert contrast(ground, ink) >= 4.5, (value, cell)


@pytest.mark.parametrize("page", ["ffffff", "020617"])
def test_every_colour_of_a_condition_stands_out_on_both_pages(page):
    for colour in (*theme.CONDITION_COLOURS.values(), *theme.SPARE_COLOURS):
        assert contrast(bytes.fromhex(colour[1:]), bytes.fromhex(page)) >= 3, colour


def contrast(*colours):
    """The contrast ratio of two colours (WCAG 2.2)."""
    lights = []
    for colour in colours:
        unit = np.asarray(list(colour)) / 255
        linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)
