"""Conditions as rows of one batch: each row its own seed, each draw its own matched rate."""

from __future__ import annotations

import pytest
import torch
from analysed import tiny
from tiny import NAMES, noise_pixels, prompted

from drople.branches import ADAPTED
from drople.class_texts import describe_classes
from drople.conditions import Conditions, rows_of
from drople.errors import SettingsError
from drople.tokens.dropout import DropoutSettings
from drople.tokens.strategies import drop_rate

MODEL = prompted(tiny())
DROPOUT = DropoutSettings(p_max=0.9)
PAIR = ("vanilla", "iwtd")


def drops_of(rows, *, match=True):
    conditions = Conditions.of(MODEL, rows, DROPOUT, match=match)
    with torch.no_grad():
        return [(r.drop, r.eligible) for r in conditions.layers(noise_pixels(1)) if r.drop]


def test_rows_are_all_conditions_of_a_seed_then_of_the_next():
    rows = rows_of((ADAPTED, *PAIR), [3, 5], DROPOUT)
    assert [(row.condition, row.seed) for row in rows] == [
        (ADAPTED, 3), ("vanilla", 3), ("iwtd", 3), (ADAPTED, 5), ("vanilla", 5), ("iwtd", 5),
    ]  # fmt: skip


def test_several_draws_in_one_batch_are_those_of_a_batch_each():
    together = drops_of(rows_of(PAIR, range(4), DROPOUT))
    for seed in range(4):
        alone = drops_of(rows_of(PAIR, [seed], DROPOUT))
        for (many, _), (two, _) in zip(together, alone, strict=True):
            assert torch.equal(many.uniform[2 * seed : 2 * seed + 2], two.uniform)
            assert torch.equal(many.dropped[2 * seed : 2 * seed + 2], two.dropped)


def test_a_matched_rate_is_that_of_the_draws_own_iwtd():
    rows = rows_of(PAIR, [0, 1], DROPOUT)
    seen = [drop_rate(drop.probability, eligible) for drop, eligible in drops_of(rows)]
    for rate in seen:
        torch.testing.assert_close(rate[0::2], rate[1::2], rtol=0, atol=1e-5)
    assert any(abs(float(rate[1] - rate[3])) > 1e-4 for rate in seen)


def test_what_drops_nothing_is_not_matched():
    drops = drops_of(rows_of((ADAPTED, "none", "iwtd"), [0], DROPOUT))
    assert not any(drop.probability[:2].any() for drop, _ in drops)


def test_text_is_dropped_with_each_rows_own_seed():
    texts = describe_classes(MODEL, NAMES)
    rows = rows_of((ADAPTED, "iwtd"), [0, 1], DROPOUT)
    run = Conditions.of(MODEL, rows, DROPOUT).run(noise_pixels(1), texts, drop_text=True)
    assert torch.equal(run.text[0], texts.features[ADAPTED])
    assert not torch.equal(run.text[1], run.text[3])


def test_an_unknown_condition_and_a_draw_without_iwtd_are_refused():
    with pytest.raises(SettingsError, match="strategy is 'half'; choose one of none, vanilla"):
        rows_of(("half",), [0], DROPOUT)
    with pytest.raises(ValueError, match="each draw needs its row 'iwtd'"):
        drops_of(rows_of(("vanilla",), [0], DROPOUT))
