"""The released codes' recipes, against numbers that those codes' schedules give."""

from __future__ import annotations

import pytest

from drople.errors import SettingsError
from drople.evaluation.reproduction import ELEVEN, METHODS_OF_THE_PAPERS, TABLES, plan_runs
from drople.training.loop import lr_at
from drople.training.recipes import recipe_of


def rates(config):
    """The learning rate in the middle of each epoch."""
    return [lr_at(config, epoch=e, step=50, steps=100) for e in range(config.epochs)]


def test_five_epochs_of_droples_code_hardly_decay():
    config = recipe_of("drople-code", "base-to-novel", "imagenet")
    # The released schedule, whose cosine spans 20 epochs, run for METHOD.md 5.2.
    expected = [2e-4, 1.9877e-4, 1.9511e-4, 1.891e-4, 1.809e-4]
    assert rates(config) == pytest.approx(expected, rel=1e-4)
    assert lr_at(config, epoch=0, step=9, steps=100) == 1e-5


def test_droples_code_has_its_low_rank_changes_and_their_rate():
    config = recipe_of("drople-code", "base-to-novel", "eurosat")
    assert (config.lora.rank, config.lora.frozen) == (8, "code")
    rates = [lr_at(config, epoch=e, step=50, steps=100, low_rank=True) for e in (1, 10, 19)]
    # 2e-5 times the same cosine, no less than 5e-6.
    assert rates == pytest.approx([1.9877e-5, 1e-5, 5e-6], rel=1e-4)
    assert not recipe_of("drople", "base-to-novel", "eurosat").lora.rank


def test_dassls_first_epoch_is_warm_up_and_its_cosine_starts_after_it():
    config = recipe_of("mpl", "base-to-novel", "eurosat")
    # Of dassl/optim/lr_scheduler.py, constant warm-up, with MAX_EPOCH 5.
    halves = [1, 0.9045085, 0.6545085, 0.3454915]  # (1 + cos(pi k / 5)) / 2
    assert rates(config) == pytest.approx([1e-5, *(3.5e-3 * one for one in halves)])
    assert lr_at(config, epoch=0, step=99, steps=100) == 1e-5


@pytest.mark.parametrize(
    ("method", "table", "data", "told"),
    [
        ("drople-code", "base-to-novel", "dtd", (20, 4, 2e-4, 16)),
        ("drople-code", "domain", "imagenet", (3, 4, 2e-4, 16)),
        ("promptsrc", "base-to-novel", "imagenet", (20, 4, 2.5e-3, 16)),
        ("promptsrc", "few-shot", "dtd", (50, 4, 2.5e-3, 16)),
        ("mpl", "cross-dataset", "imagenet", (2, 4, 2.6e-3, 16)),
    ],
)
def test_a_recipe_is_that_of_the_released_code(method, table, data, told):
    config = recipe_of(method, table, data)
    assert (config.epochs, config.batch, config.lr, config.shots) == told
    assert config.method == method


def test_the_frozen_template_is_the_data_sets_own():
    assert recipe_of("zero-shot", "base-to-novel", "dtd").template == "a texture of {}."
    assert recipe_of("mpl", "few-shot", "caltech101").template == "a photo of a {}."


def test_prompts_are_shallow_where_they_are_carried_over_to_other_data():
    for method in ("promptsrc", "mpl"):
        plan = recipe_of(method, "cross-dataset", "imagenet").plan
        assert (plan.image_depth, plan.text_depth) == (3, 3)


def test_a_method_without_a_released_recipe_is_refused():
    with pytest.raises(SettingsError, match="No released recipe of 'kgcoop'"):
        recipe_of("kgcoop", "few-shot", "dtd")


def test_the_whole_plan_has_every_table_method_and_seed():
    planned = plan_runs([*TABLES], METHODS_OF_THE_PAPERS, [1, 2, 3])
    learnt = [one for one in planned if one.config.learns()]
    assert len(learnt) == 3 * 3 * (11 + 11 + 1 + 1 + 10)
    assert len(planned) - len(learnt) == 11 + 11 + 1 + 1 + 10  # the frozen branch has one seed
    assert {one.data for one in planned} == {*ELEVEN}
    shared = [{one.config for one in learnt if one.table == t} for t in ("cross-dataset", "domain")]
    assert shared[0] == shared[1]  # one training on ImageNet for both
