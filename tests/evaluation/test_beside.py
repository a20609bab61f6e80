"""The page that sets what came out beside what was published."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest
from reports import row

from drople.evaluation.accuracy import harmonic_mean
from drople.evaluation.beside import beside_published
from drople.evaluation.preflight import StepTime
from drople.evaluation.published import (
    ACROSS_ORDER,
    AVERAGES,
    BASE_TO_NOVEL,
    CROSS_DATASET,
    DOMAINS,
    DOMAINS_ORDER,
    LONG_TAIL,
    LONG_TAIL_ORDER,
)
from drople.evaluation.reproduction import ELEVEN
from drople.evaluation.runs import read_results


def page(table, folder):
    return "\n".join(beside_published({table: read_results(folder / "runs")}))


def test_ours_and_theirs_are_rows_of_one_table_each_with_its_source(finished, tmp_path):
    finished("mpl", 20, 10, seed=1, data="dtd")
    finished("mpl", 30, 10, seed=2, data="dtd")
    text = page("base-to-novel", tmp_path)
    own = text.partition("\ndtd:")[2]
    # 50 and 75, 25 and 25 percent; harmonic means 33.33 and 37.5.
    assert row(own, "mpl") == ["mpl", "62.50 ± 17.68", "25.00 ± 0.00", "35.42 ± 2.95",
                               "measured here"]  # fmt: skip
    assert row(own, "PromptSRC") == ["PromptSRC", "83.37", "62.97", "71.75", "UPrompt's Table 1"]


def test_an_average_is_that_of_the_halves_and_says_over_what(finished, tmp_path):
    finished("mpl", 20, 10, data="dtd")
    finished("mpl", 40, 30, data="eurosat")
    text = page("base-to-novel", tmp_path)
    assert row(text, "mpl") == ["mpl", "75.00", "50.00", "60.00", "measured here"]
    assert "over dtd, eurosat alone: **not comparable** with published ones" in text


def test_averages_over_all_data_sets_are_not_warned_of(finished, tmp_path):
    for data in ELEVEN:
        finished("mpl", 20, 10, data=data)
    text = page("base-to-novel", tmp_path)
    assert "Averages are over all 11 data sets." in text
    assert "not comparable" not in text


def test_a_test_set_that_was_left_out_has_no_figure(finished, tmp_path):
    finished("mpl", 1, 1, data="imagenet")
    (made,) = read_results(tmp_path / "runs")
    accuracy = {"source": 60.0, "imagenetv2": 50.0, "imagenet_r": 40.0}
    text = "\n".join(beside_published({"domain": [replace(made, accuracy=accuracy)]}))
    assert row(text, "mpl") == ["mpl", "60.00", "50.00", "", "", "40.00", "45.00", "measured here"]
    assert row(text, "CoOp")[-2:] == ["59.14", "UPrompt's Table 3"]


def test_long_tail_shows_harmonic_means(finished, tmp_path):
    finished("drople-code", 20, 10, data="dtd", protocol="long-tail")
    text = page("long-tail", tmp_path)
    assert row(text, "drople-code")[3] == f"{harmonic_mean(50, 25):.2f}"
    assert row(text, "DroPLe")[-2] == "79.63"


@pytest.mark.parametrize(
    ("rows", "order", "left_out"),
    [
        (CROSS_DATASET, ACROSS_ORDER, 0),
        (DOMAINS, DOMAINS_ORDER, 1),
        (LONG_TAIL, LONG_TAIL_ORDER, 0),
    ],
)
def test_published_rows_have_a_figure_each_and_their_own_mean(rows, order, left_out):
    for _, figures, average, source in rows:
        values = [float(value) for value in figures.split()]
        assert len(values) == len(order)
        assert mean(values[left_out:]) == pytest.approx(float(average), abs=0.006)
        assert source


def test_published_harmonic_means_are_those_of_their_parts_or_said_not_to_be():
    rows = [one for some in (AVERAGES, *BASE_TO_NOVEL.values()) for one in some]
    for method, base, novel, harmonic, source in rows:
        if base == "not found" or "as printed" in source:
            continue
        worked_out = harmonic_mean(float(base), float(novel))
        assert float(harmonic) == pytest.approx(worked_out, abs=0.02), method


def test_published_data_sets_average_to_the_published_averages():
    for method in ("PromptSRC", "UPrompt"):
        printed = next(one for one in AVERAGES if one[0] == method)
        own = [one for rows in BASE_TO_NOVEL.values() for one in rows if one[0] == method]
        for column in (1, 2):
            average = mean(float(one[column]) for one in own)
            assert average == pytest.approx(float(printed[column]), abs=0.006)


def test_a_steps_time_lies_on_the_line_through_what_was_measured():
    step = StepTime((10, 0.2), (110, 0.7))
    assert [step.at(10), step.at(60), step.at(110)] == pytest.approx([0.2, 0.45, 0.7])
    assert StepTime((10, 0.2), (10, 0.2)).at(10) == 0.2
    assert StepTime((10, 0.2), (110, 0.1)).at(60) == 0.2  # noise: more classes take no less
