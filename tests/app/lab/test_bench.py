"""A computation of the lab: in turn, step by step, and shown with its own question alone."""

from __future__ import annotations

import gradio as gr
import pytest
from analysed import analysed, ask
from computed import bench_of, silent, views_of
from furnished import FurnishedStudio

from app.lab import (
    attention_maps,
    direct_path,
    faithfulness,
    modes,
    rate_curve,
    residual,
    robustness,
    sanity,
    sinks,
    uncertainty,
)
from app.lab.bench import NO_DROPOUT_HERE, Computation
from app.lab.question import Result
from app.tabs.shared import View
from drople.errors import SettingsError

VIEWS = (
    attention_maps, direct_path, faithfulness, modes, rate_curve, residual, robustness, sanity,
    sinks, uncertainty,
)  # fmt: skip
NEED_PROMPTS = (direct_path, modes, rate_curve, residual, uncertainty)


class CountingStudio(FurnishedStudio):
    """Counts the turns it gives."""

    turns = 0

    def in_turn(self, work):
        self.turns += 1
        return super().in_turn(work)


def count_up(question, most, *, progress):
    """Numbers up to `most`, for a class."""
    yield from range(most)


def draw(analysis, target, value, unit):
    return f"{value} {unit}", value


def computation(**others):
    """A computation of numbers, with one view of a sentence and a figure."""
    with gr.Blocks():
        note, plot, most, unit = gr.Markdown(), gr.Plot(), gr.Slider(), gr.Textbox()
        others = {"stop": gr.Button(), "inputs": [most], **others}
        if others.pop("bound", False):
            others["inputs"] = others["binding"] = [unit]
        view = View(draw, [unit], [note, plot])
        return Computation(count_up, [view], note, press="Press.", run=gr.Button(), **others)


def steps_of(one, analysis, *values, studio=None):
    given = [analysis, None, "tiny", "none", *values]
    return [*one.steps(studio or FurnishedStudio(), silent, given)]


def test_each_value_is_drawn_as_it_comes_and_the_last_is_said_to_be_done():
    steps = steps_of(computation(), analysed(), 2, "draws")
    assert [step[1] for step in steps] == ["0 draws", "1 draws", "Done. 1 draws"]
    assert [(step[0].value, step[0].done) for step in steps] == [(0, False), (1, False), (1, True)]


def test_what_cannot_be_stopped_is_drawn_once_a_value():
    steps = steps_of(computation(stop=None), analysed(), 2, "draws")
    assert [step[1] for step in steps] == ["0 draws", "1 draws"]


def test_every_step_waits_for_its_turn():
    studio = CountingStudio()
    steps_of(computation(), analysed(), 3, "", studio=studio)
    assert studio.turns == 4  # the last finds that there is nothing left


def test_a_question_without_an_answer_is_refused():
    with pytest.raises(SettingsError, match="Press Analyse first"):
        steps_of(computation(), None, 2, "")
    with pytest.raises(SettingsError, match="nothing to drop"):
        steps_of(computation(needs_prompts=True), analysed("frozen only"), 2, "")


def test_a_result_answers_its_own_question_alone():
    result = Result(ask(), 1, "value", ("fog",))
    assert result.answers(ask(), 1, controls=("fog",))
    assert not result.answers(ask(), 0, controls=("fog",))
    assert not result.answers(ask(), 1, controls=("snow",))
    assert not result.answers(ask(seed=9), 1, controls=("fog",))
    assert result.answers(ask(seed=9), 1, controls=("fog",), same=lambda a, b: True)
    assert Result(ask(), None, "value").answers(ask(), 2)


def test_a_result_of_another_question_is_not_shown():
    one = computation()
    (view,), result = one.views, Result(analysed(), 0, 7)
    assert one.draw(view, analysed(), 0, result, "draws") == ("7 draws", 7)
    for analysis, target in ((analysed(), 1), (ask(seed=9), 0)):
        assert one.draw(view, analysis, target, result, "draws") == ["Press.", None]


def test_a_binding_control_is_part_of_the_question():
    one = computation(bound=True)
    (view,) = one.views
    result = steps_of(one, ask(), 2, 2)[-1][0]
    assert one.draw(view, ask(), result.target, result, 2)[1] == 1
    assert one.draw(view, ask(), result.target, result, 3) == ["Press.", None]


@pytest.mark.parametrize("module", VIEWS)
def test_before_anything_is_computed_a_view_says_what_to_press(module):
    for view in views_of(module):
        shown = view.drawn(analysed(), None, None, *(one.value for one in view.controls))
        shown = shown if len(view.outputs) > 1 else [shown]
        pairs = zip(view.outputs, shown, strict=True)
        notes = [note for one, note in pairs if isinstance(one, gr.Markdown)]
        assert notes in ([], [""]) or notes[0].startswith("Press ")
    assert any(isinstance(one, gr.Markdown) for view in views_of(module) for one in view.outputs)


@pytest.mark.parametrize("module", NEED_PROMPTS)
def test_without_prompts_a_view_of_dropout_says_that_there_is_none(module):
    for view in views_of(module):
        assert NO_DROPOUT_HERE in view.drawn(
            analysed("frozen only"), None, None, *(one.value for one in view.controls)
        )


def test_the_button_runs_in_the_models_queue_and_stop_ends_it():
    with gr.Blocks() as page:
        rate_curve.build(bench_of())
    (running,) = (fn for fn in page.fns.values() if fn.concurrency_id == "model")
    (stopping,) = (fn for fn in page.fns.values() if fn.cancels)
    assert stopping.cancels == [running._id]
