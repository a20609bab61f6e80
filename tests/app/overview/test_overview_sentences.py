"""Sentences say what the numbers show and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysed import analysed, with_prediction

from app.overview import sentences
from app.overview.sentences import Drawn
from drople.decisions import LayerDecisions
from drople.storage.verdicts import Verdict

PAIR = ("iwtd", "vanilla")
GRID = (4, 4)
CLASSES = analysed().classes


def layer(decisions=400, differ=4, both=100, chance=36.2):
    return LayerDecisions(
        decisions, differ, both + differ, both, both, chance, only_a=differ, only_b=0
    )


def drawn(count=32, flips=(0, 0), rate=0.3, **counts) -> Drawn:
    """Draws in which so many answers are not the first class."""
    answers = {
        name: np.array([1] * flipped + [0] * (count - flipped))
        for name, flipped in zip(PAIR, flips, strict=True)
    }
    rates = dict.fromkeys(PAIR, np.full((count, 1), rate))
    return Drawn(tuple(range(count)), [layer(**counts)], answers, rates)


def answered(adapted=(0.9, 0.1, 0.1)):
    """The ordinary analysis where both branches answer the first class."""
    frozen = with_prediction(analysed(), "frozen", [0.9, 0.1, 0.1])
    return with_prediction(frozen, "adapted", [*adapted])


def answer(found=None, analysis=None):
    return sentences.answer_sentence(analysis or answered(), PAIR, found)


def test_the_answer_names_both_branches_and_the_decisions():
    said = answer(drawn())
    assert said.startswith(f"Frozen: {CLASSES[0]} ")
    assert f", adapted: {CLASSES[0]} " in said
    assert said.endswith(
        "Over 32 draws, given the same random numbers, IWTD decides like vanilla dropout in 99.0 % "
        "of 400 decisions; the answer never changes."
    )


def test_one_draw_is_called_one_draw():
    said = answer(drawn(1))
    assert "In one draw (seed 0), given the same random numbers, IWTD decides" in said
    assert said.endswith("neither changes the answer.")
    flipped = answer(drawn(1, flips=(1, 0)))
    assert flipped.endswith(f"IWTD changes the answer to {CLASSES[1]}, vanilla dropout keeps the "
                            "answer.")  # fmt: skip


@pytest.mark.parametrize(("flips", "clear"), [((22, 20), False), ((30, 2), True), ((5, 5), True)])
def test_flips_are_counted_and_a_difference_not_claimed(flips, clear):
    said = answer(drawn(flips=flips))
    assert f"changes in {flips[0]} draws under IWTD, in {flips[1]} under vanilla" in said
    assert ("no clear difference" in said) != clear


def test_one_draw_of_many_is_singular():
    assert "changes in 30 draws under IWTD, in 1 under" in answer(drawn(flips=(30, 1)))
    assert "changes in 1 draw under IWTD, in 30 under" in answer(drawn(flips=(1, 30)))


@pytest.mark.parametrize(
    ("differ", "says"),
    [(0, "in all 100,000 decisions"), (1, "in 99.9 % of"), (99_999, "in 0.1 % of"),
     (100_000, "in none of 100,000")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_none(differ, says):
    assert says in answer(drawn(decisions=100_000, differ=differ))


def test_near_classes_are_told_together():
    scale = analysed().predictions["adapted"].logit_scale
    near = answer(analysis=answered((0.5, 0.5 - 0.04 / scale, 0)))
    assert near.endswith(").")
    assert f"({CLASSES[1]} 0." in near
    assert "(" not in answer()


def test_where_nothing_may_be_dropped_nothing_is_compared():
    assert answer(drawn(decisions=0, differ=0)).endswith("no dropout acts on the picture.")
    assert sentences.after_depth_sentence(0).startswith("No dropout acts")
    assert sentences.after_depth_sentence(1).endswith("it acts on the first layer.")
    assert sentences.after_depth_sentence(6).endswith("it acts on the first 6 layers.")


def test_a_layer_tells_decisions_beside_what_chance_gives():
    assert sentences.dropped_sentence(0, PAIR, drawn()) == (
        "Over 32 draws, after layer 1, 4 of 400 decisions differ: IWTD alone drops 4, vanilla "
        "dropout alone 0; both 100 (36 if independent)."
    )
    alike = sentences.dropped_sentence(0, PAIR, drawn(1, differ=0, both=1, chance=0.4))
    assert "0 of 400 decisions differ; both drop 1" in alike
    assert alike.endswith("(0.4 if independent).")
    nothing = sentences.dropped_sentence(0, PAIR, drawn(decisions=0))
    assert nothing.endswith("no token is left that both could drop.")


def reason(p_a, p_b, *, importance=None, limits=(0.1, 0.5), found=None, pair=PAIR):
    blend = np.linspace(1, 3, 20) if importance is None else importance
    return sentences.reason_sentence(
        0, pair, dict(zip(pair, (p_a[None], p_b[None]), strict=True)),
        importance={"blend": blend[None]}, limits=limits, grid=GRID, drawn=found,
    )  # fmt: skip


def even(p):
    return np.full(20, p.mean())


SINK = np.where(np.arange(20) == 6, 0.1, 0.5)
CLOSE = np.linspace(0.28, 0.3, 20)
WIDE = np.linspace(0.1, 0.5, 20)


def test_the_reason_is_chosen_from_the_numbers():
    assert "one token, row 2, column 3, takes 100 % of the min-max" in reason(SINK, even(SINK))
    narrow = reason(CLOSE, even(CLOSE), limits=(0.28, 0.3))
    assert "p may only lie between 0.28 and 0.3: whatever" in narrow
    assert "no more than 1.0 % of the decisions would differ" in narrow
    top = np.where(np.arange(20) < 2, np.array([0.3, 0.32] * 10), 0.5)
    assert "p averages 0.48, near its upper end 0.5" in reason(top, even(top))
    flat = reason(SINK, even(SINK), importance=np.linspace(1, 1.01, 20))
    assert "importance is nearly the same for all tokens" in flat
    assert "both give every token the same p, 0.30" in reason(even(WIDE), even(WIDE))
    prompt = np.roll(SINK, 11)
    assert "prompt P2" in reason(prompt, even(prompt))


def test_the_bound_is_of_the_draws_where_there_are_any():
    # At a mean of 0.494, 2 * 0.394 * 0.006 / 0.4 of the decisions differ at most.
    top = np.where(np.arange(20) < 2, np.array([0.3, 0.32] * 10), 0.5)
    said = reason(top, even(top), found=drawn(rate=0.494))
    assert "p averages 0.49, near its upper end 0.5" in said
    assert "no more than 1.2 % of the decisions would differ" in said
    assert reason(top, even(top), found=drawn(rate=0.3)) == ""


def test_no_reason_is_given_where_more_than_a_few_decisions_differ():
    assert reason(WIDE, even(WIDE)) == ""
    assert reason(SINK, even(SINK), found=drawn(differ=21)) == ""
    few = reason(SINK, even(SINK), found=drawn(differ=20))
    assert few.startswith("Only 5.0 % differ because one token")
    none = reason(SINK, even(SINK), found=drawn(differ=0))
    assert none.startswith("None differs because one token")
    expected = reason(SINK, even(SINK))
    assert expected.startswith("About 3.8 % should differ because one token")
    assert reason(SINK, even(SINK), found=drawn(decisions=0, differ=0)) == ""
    assert reason(SINK, SINK + np.linspace(0, 1e-3, 20)) == ""  # none of the two is even


def test_either_of_the_pair_may_be_the_even_one():
    swapped = reason(even(SINK), SINK, pair=("vanilla", "iwtd"))
    assert swapped == reason(SINK, even(SINK))


def test_ranking_says_what_it_would_change():
    said = sentences.ranked_sentence("iwtd", SINK, WIDE)
    assert "p from 0.10 to 0.50 in even steps; about 10.5 % of the decisions" in said
    assert "nothing changes for vanilla dropout" in sentences.ranked_sentence("vanilla", SINK, SINK)


def verdict(**changes):
    dropout = analysed().settings.dropout
    known = {
        "backbone": "tiny", "weights": "0", "mode": dropout.mode, "p_min": dropout.p_min,
        "p_max": dropout.p_max, "normalisation": dropout.normalisation,
        "tasks": ["fewshot_pets"], "seeds": [1, 2], "difference": -0.2, "interval": [-0.5, 0.1],
        "differing": None, "sentence": "",
    }  # fmt: skip
    return Verdict(**known | changes)


def test_the_verdict_is_of_these_weights_settings_and_dropouts():
    analysis = analysed()
    ask = sentences.verdict_sentence
    assert ask(analysis, PAIR, []) == "Not measured for this backbone."
    said = ask(analysis, PAIR, [verdict(p_min=0.02), verdict()])
    assert "pets; 2 seeds" in said
    minus = "\N{MINUS SIGN}"
    assert f"is {minus}0.20 [{minus}0.50, +0.10] points of harmonic mean" in said
    assert said.endswith(": no difference shown.")
    assert ask(analysis, PAIR, [verdict(interval=[0.1, 0.3])]).endswith(": a difference.")
    assert "Not measured with these settings" in ask(analysis, PAIR, [verdict(p_min=0.02)])
    assert ask(analysis, ("iwtd", "cls"), [verdict()]) == "Not measured for these two dropouts."


def test_the_answer_of_one_class_says_so():
    one = replace(analysed("one class"), predictions={
        name: said for name, said in analysed("one class").predictions.items()})  # fmt: skip
    assert "1.00 (the only class listed)" in answer(analysis=one)


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        ({}, []),
        ({"mode": "hide"}, []),
        ({"mode": "noise"}, ["mode noise: “dropped” is only perturbed"]),
        ({"normalisation": "rank"}, ["normalisation rank: ours"]),
    ],
)
def test_settings_that_a_number_cannot_be_read_without_are_noted(change, notes):
    analysis = analysed()
    settings = replace(analysis.settings, dropout=replace(analysis.settings.dropout, **change))
    assert sentences.notes_of(replace(analysis, settings=settings)) == notes
