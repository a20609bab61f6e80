"""Which questions the runs answer, and how: RESULTS.md and the page of differences."""

from __future__ import annotations

import pytest
from reports import row

from drople.errors import DataError

DROPLE = "Does DroPLe beat the frozen branch?"


def test_a_question_is_answered_in_every_column(finished, report):
    finished("zero-shot", 10, 30, seed=0)
    finished("drople", 30, 10)
    _, base, novel, harmonic, over = row(report(), DROPLE)
    assert base.startswith("better, +50.00 [")
    assert novel.startswith("worse, -50.00 [")
    assert harmonic.startswith("no difference shown, +0.00 [")
    assert over == "all tasks; 1 seed"


def test_the_answer_is_the_mean_over_data_sets(finished, report):
    for data, base in (("pets", 30), ("cars", 20)):
        finished("zero-shot", 10, 10, seed=0, data=data)
        finished("drople", base, 10, data=data)
    _, base, novel, harmonic, _ = row(report(), DROPLE)
    assert base.startswith("better, +37.50 [")  # of 50 and 25
    assert base.endswith("] (on each task)")
    assert novel.startswith("no difference shown, +0.00 [")
    # Of the averages 62.5 and 25 and of 25 and 25, not the mean of two harmonic means.
    assert harmonic.startswith("better, +10.71 [")


def test_tasks_that_contradict_one_another_are_mixed(finished, report):
    for data, base in (("pets", 40), ("cars", 0), ("dogs", 20)):
        finished("zero-shot", 20, 10, seed=0, data=data)
        finished("drople", base, 10, data=data)
    base = row(report(), DROPLE)[1]
    assert base.startswith("mixed, +0.00 [")
    assert base.endswith("] (cars worse, pets better)")


def test_the_averages_are_over_the_tasks_that_have_all_main_methods(finished, report, tmp_path):
    for data, base in (("pets", 40), ("cars", 20), ("dogs", 4)):
        finished("zero-shot", 20, 10, seed=0, data=data)
        for method in ("drople", "drople-none", "drople-vanilla", "mpl"):
            if (method, data) != ("mpl", "dogs"):
                finished(method, base, 20, data=data)
    report()
    _, _, after = (tmp_path / "RESULTS.md").read_text().partition("## Over cars, pets, mini@abcdef")
    assert row(after, "drople")[1:] == ["75.00", "50.00", "60.00"]
    assert row(after, "zero-shot")[1:] == ["50.00", "25.00", "33.33"]


def test_the_reference_is_the_row_that_most_others_are_set_like(finished, report):
    finished("zero-shot", 10, 10, seed=0)
    finished("drople", 40, 40, settings={})
    finished("drople", 20, 20, settings={"epochs": 4})
    finished("drople-none", 10, 20, settings={"epochs": 4})
    assert row(report(), "Does IWTD beat no dropout?")[1].startswith("better, +25.00 [")


def test_one_task_tested_on_different_images_is_refused(finished, report):
    finished("drople", 20, 20)
    finished("drople", 20, 20, exams="1")
    with pytest.raises(DataError, match="pets, pets: the same task was tested on different images"):
        report()


def test_the_first_lines_ask_the_question_and_say_the_verdict(finished, report, tmp_path):
    def said():
        report()
        lines = (tmp_path / "RESULTS.md").read_text().splitlines()
        assert lines[:2] == ["# Results", ""]
        return " ".join(lines[2:5])

    finished("drople", 20, 20)
    assert "(IWTD) learn better prompts than vanilla dropout at the same mean rate?**" in said()
    assert "In this comparison: open, no runs to compare." in said()
    finished("drople-vanilla", 20, 20)
    assert "In this comparison: no difference shown in base, novel, harmonic mean." in said()
    for method, base in (("drople", 35), ("drople-vanilla", 5)):
        finished(method, base, 20, data="cars")
    assert "In this comparison: base better, novel no difference shown" in said()


def test_a_question_without_runs_stays_open(finished, report):
    finished("drople", 20, 20)
    assert row(report(), "Does IWTD beat vanilla dropout?")[1].startswith("open: no runs")


def test_methods_with_other_settings_are_not_compared(finished, report):
    finished("drople", 20, 20, settings={"epochs": 4})
    finished("drople-none", 30, 20, settings={"epochs": 8})
    assert row(report(), "Does IWTD beat no dropout?")[1].startswith("open: no runs")


def test_the_leader_is_named_among_rows_set_alike_with_all_seeds(finished, report):
    for seed, novel in ((1, 20), (2, 40)):
        finished("drople", 20, novel, seed=seed)
        finished("mpl", 24, 24, seed=seed)
        finished("drople", 40, 40, seed=seed, settings={"lr": 0.1})
    finished("coop", 38, 38, seed=1)
    finished("zero-shot", 40, 40)
    (line,) = [line for line in report().splitlines() if "leads on pets" in line]
    assert line.endswith(
        "The first of 2 methods with the same settings, by harmonic mean "
        "(seeds 1, 2; 1 with fewer seeds left out): "
        "`mpl` 60.00, `drople` 58.33."
    )
