"""Residual entropy: what is left of the adapted branch without the frozen one, and its pull."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import Bench, Computation, numbers
from app.lab.display.residual import (
    probability_table,
    residual_figure,
    residual_sentence,
    schedule_figure,
    shown_classes,
    terms_table,
)
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View
from drople.analysis import Analysis
from drople.lab.residual import EPOCHS, TrainingStep, lambdas, read_step, training_step

INTRO = (
    "Training asks that the residual, the adapted feature with lambda times the frozen one taken "
    "out, be as undecided as it can: its entropy is maximised. Here one training step sees your "
    "picture, with the class looked at as its label and IWTD in image and text tower; weights are "
    "the released ones, whatever these prompts were trained with. An arrow shows where the term "
    "pulls. All probabilities use the adapted branch's logit scale, as the objective does."
)
PRESS = "Press Read the residual: it takes about a second with mini."
IMAGE, TEXT = "picture's", "text's"


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        which = gr.Radio([IMAGE, TEXT], value=IMAGE, label="Residual", elem_id="residual-which")
        epoch = gr.Slider(
            1, EPOCHS, EPOCHS, step=1, label=f"Epoch (of {EPOCHS}), which sets lambda",
            elem_id="residual-epoch", min_width=200,
        )  # fmt: skip
        run = gr.Button("Read the residual", elem_id="residual-run", min_width=90)
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            plot = gr.Plot(show_label=False, elem_id="residual-plot")
        with gr.Column(scale=2, min_width=240):
            schedule = gr.Plot(show_label=False, elem_id="residual-schedule")
    note = gr.Markdown(elem_id="residual-note", elem_classes="lens-note")
    table = numbers("residual-table", (200, 100, 130, 100, 120))
    terms = numbers("residual-terms", (330, 120, 100, 90, 140))
    view = View(draw, [which, epoch], [plot, schedule, note, table, terms])
    computation = Computation(compute, [view], note, press=PRESS, run=run, needs_prompts=True)
    return computation.on(bench)


def compute(question: Question, *, progress: gr.Progress) -> Iterator[TrainingStep]:
    """What one step of training sees of the picture."""
    analysis = question.analysis
    progress((0, 1), desc="image and text under IWTD")
    yield training_step(
        question.prompted, analysis.pixels, question.texts, target=question.target,
        dropout=analysis.settings.dropout, seed=analysis.settings.seed,
    )  # fmt: skip


def draw(
    analysis: Analysis, target: int, step: TrainingStep, which: str, epoch: float
) -> tuple[Any, ...]:
    """The dots and arrows, the schedule, the sentence and both tables."""
    at, schedule = int(epoch) - 1, lambdas()
    reading = read_step(step, float(schedule[at]))
    residual = reading.image if which == IMAGE else reading.text
    classes = analysis.classes
    drawn = f"One draw (seed {analysis.settings.seed}), {classes[target]} as the label."
    sentence = residual_sentence(reading, residual, classes, drawn=drawn)
    shown = shown_classes(reading, residual, target)
    return (
        residual_figure(reading, residual, classes, target=target),
        schedule_figure(schedule, at),
        plain_text(sentence),
        probability_table(reading, residual, classes, shown=shown),
        terms_table(reading),
    )
