"""The forest plot: a mark a row, where its value lies on the axis."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from drople.evaluation.bootstrap import Interval
from drople.evaluation.forest import ForestRow, axis_of, forest, position

ROWS = [
    ForestRow("A & B", Interval(1.0, -0.5, 2.5), Interval(1.0, -1.0, 3.0), whole=True),
    ForestRow("pets", Interval(-3.0, -4.0, -2.0), Interval(-3.0, -4.5, -1.5)),
    ForestRow("cars", Interval(4.0, 3.0, 5.0), Interval(4.0, 2.5, 5.5)),
]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawing():
    return ElementTree.fromstring(forest(ROWS, "Difference in percent points"))


def lines(drawing, name):
    return [
        {key: float(value) for key, value in line.attrib.items() if key != "class"}
        for line in drawing.iter(f"{SVG}line")
        if line.get("class") == name
    ]


def test_each_row_has_one_interval_one_mark_and_its_words(drawing):
    assert len(lines(drawing, "mark")) == len(ROWS)
    assert len([*drawing.iter(f"{SVG}circle")]) == 2
    assert len([*drawing.iter(f"{SVG}path")]) == 1  # the summary
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert {"A & B", "pets", "cars", "+1.00 [-0.50, +2.50]"} <= {*texts}


def test_an_interval_that_crosses_zero_is_drawn_across_the_line_of_zero(drawing):
    (zero,) = lines(drawing, "zero")
    assert zero["x1"] == zero["x2"]
    crossing, below, above = lines(drawing, "mark")
    assert crossing["x1"] < zero["x1"] < crossing["x2"]
    assert below["x2"] < zero["x1"] < above["x1"]


def test_the_corrected_interval_reaches_further(drawing):
    for thin, thick in zip(lines(drawing, "thin"), lines(drawing, "mark"), strict=True):
        assert thin["x1"] < thick["x1"] < thick["x2"] < thin["x2"]
        assert thin["y1"] == thick["y1"]


def test_equal_differences_are_equally_far_apart(drawing):
    (zero,) = lines(drawing, "zero")
    centres = [float(circle.get("cx")) - zero["x1"] for circle in drawing.iter(f"{SVG}circle")]
    assert centres[0] / centres[1] == pytest.approx(-3 / 4, abs=1e-3)
    assert centres[1] == pytest.approx(
        sum(lines(drawing, "mark")[2][x] for x in ("x1", "x2")) / 2 - zero["x1"], abs=0.02
    )


def test_the_axis_encloses_zero_and_every_interval():
    assert axis_of(ROWS) == [*range(-5, 7)]
    assert axis_of([ForestRow("", Interval(21, 20, 31), Interval(21, 20, 31))]) == [
        0,
        5,
        10,
        15,
        20,
        25,
        30,
        35,
    ]
    assert axis_of([]) == [0, 1]


def test_positions_run_from_the_first_tick_to_the_last():
    assert position(-4, [-4, 0, 4]) < position(0, [-4, 0, 4]) < position(4, [-4, 0, 4])
    assert position(0, [-4, 0, 4]) == (position(-4, [-4, 0, 4]) + position(4, [-4, 0, 4])) / 2


def test_it_is_readable_in_light_and_in_dark(drawing):
    style = drawing.find(f"{SVG}style").text
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    for name in ("text {", ".back {", ".mark {", ".grid {", ".zero {"):
        assert name in light
        assert name in dark
