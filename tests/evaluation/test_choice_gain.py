"""Choice against gain: each setting of IWTD beside the vanilla row of its mode and range."""

from __future__ import annotations

import pytest

from drople.evaluation.choice import Choice, ChoiceResult
from drople.evaluation.choice_gain import choice_against_gain, choices_and_gains
from drople.evaluation.runs import read_results
from drople.evaluation.tables import tabulate
from drople.training.config import METHODS
from drople.training.overrides import flat

WIDE = {"dropout.p_max": 0.5}


def choice(normalisation, differing, mean_p):
    return Choice(normalisation, mean_p, differing, 80.0, 10.0, mean_p, mean_p)


def measured(settings=None, *, differing=(1.0, 5.0), data="pets", split="test"):
    """What a model trained with `drople` under these settings would choose."""
    return ChoiceResult(
        data=data, data_option=f"DATA/{data}", backbone="mini", weights="abcdef0123456789",
        split=split, method="drople", seed=1, config=flat(METHODS["drople"]) | (settings or {}),
        images=40,
        choices=(choice("minmax", differing[0], 28.0), choice("rank", differing[1], 20.0)),
    )  # fmt: skip


@pytest.fixture
def tables(tmp_path):
    return lambda: tabulate(read_results(tmp_path / "runs"))


def test_the_least_choice_comes_first_with_its_gain_over_vanilla_in_its_range(finished, tables):
    finished("drople", 20, 20, settings=WIDE)
    finished("drople-vanilla", 30, 20, settings=WIDE)
    finished("drople", 24, 24)
    finished("drople-rank", 28, 28)
    finished("drople-vanilla", 20, 20)
    rows = choices_and_gains(tables(), [measured(WIDE, differing=(2.5, 9.0)), measured()])
    assert [row.setting for row in rows] == [
        "hide, p 0.1 to 0.3, minmax", "hide, p 0.1 to 0.5, minmax", "hide, p 0.1 to 0.3, rank",
    ]  # fmt: skip
    assert [row.differing for row in rows] == [1.0, 2.5, 5.0]
    assert [row.gain.estimate for row in rows] == pytest.approx([10, -10, 20])
    assert [row.vanilla_p for row in rows] == [28, 28, 28]


def test_what_one_task_lacks_has_no_row(finished, tables):
    for data in ("pets", "cars"):
        finished("drople", 24, 24, data=data)
        finished("drople-vanilla", 20, 20, data=data)
    assert choices_and_gains(tables(), [measured()]) == []
    (row,) = choices_and_gains(tables(), [measured(), measured(data="cars", differing=(3, 6))])
    assert row.differing == 2


def test_a_model_measured_at_other_settings_or_on_validation_data_does_not_count(finished, tables):
    finished("drople", 24, 24)
    finished("drople-vanilla", 20, 20)
    others = [measured(WIDE), measured({"dropout.weights.s_cross": 0.0}), measured(split="val")]
    assert choices_and_gains(tables(), others) == []
    assert choice_against_gain(tables(), others) == [["Not measured."]]


def test_the_page_says_what_the_intervals_show(finished, tables):
    finished("drople", 40, 40)
    finished("drople-vanilla", 4, 4)
    said, table = choice_against_gain(tables(), [measured()])
    assert said[-1] == "A difference is shown for hide, p 0.1 to 0.3, minmax."
    assert table[-1].startswith("| hide, p 0.1 to 0.3, minmax | 1.00 | 28.0 | 28.0 | +90.00 [")
