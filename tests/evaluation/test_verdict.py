"""What the page quotes of the runs: IWTD against vanilla dropout, setting by setting."""

from __future__ import annotations

import pytest

from drople.errors import DataError
from drople.storage.verdicts import read_verdicts

WIDE = {"dropout.p_max": 0.5}


@pytest.fixture
def verdicts(report, tmp_path):
    def read(weights="abcdef0123456789"):
        report()
        return read_verdicts(weights, tmp_path / "docs" / "results" / "verdict.json")

    return read


def test_each_setting_of_the_dropout_has_its_own_verdict(finished, verdicts):
    finished("drople", 20, 20)
    finished("drople-vanilla", 20, 20)
    finished("drople", 40, 40, settings=WIDE)
    finished("drople-vanilla", 10, 10, settings=WIDE)
    narrow, wide = sorted(verdicts(), key=lambda one: one.p_max)
    assert (narrow.p_max, narrow.difference, narrow.interval) == (0.3, 0, [0, 0])
    assert (wide.p_max, wide.difference) == (0.5, 75)
    assert "no difference shown" in narrow.sentence
    assert "IWTD is better" in wide.sentence
    assert wide.differing is None


def test_a_verdict_is_over_the_tasks_and_seeds_that_have_both(finished, verdicts):
    for data, seeds in (("pets", (1, 2)), ("cars", (2, 3))):
        for seed in seeds:
            finished("drople", 20, 20, data=data, seed=seed)
            finished("drople-vanilla", 20, 20, data=data, seed=seed)
    finished("drople", 20, 20, data="dogs")
    (one,) = verdicts()
    assert (one.tasks, one.seeds) == (["cars", "pets"], [2])


def test_runs_at_another_setting_are_not_compared(finished, verdicts):
    finished("drople", 20, 20)
    finished("drople-vanilla", 20, 20, settings=WIDE)
    assert verdicts() == []


def test_other_weights_have_no_verdict(finished, verdicts):
    finished("drople", 20, 20)
    finished("drople-vanilla", 20, 20)
    assert len(verdicts()) == 1
    assert verdicts("0" * 16) == []


def test_without_a_file_there_is_no_verdict_and_a_wrong_one_is_named(tmp_path):
    assert read_verdicts("abc", tmp_path / "verdict.json") == []
    (tmp_path / "verdict.json").write_text('[{"difference": 1}]')
    with pytest.raises(DataError, match=r"verdict.json holds no verdicts"):
        read_verdicts("abc", tmp_path / "verdict.json")
