"""Modes: the same draw carried out in every way there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import Bench, Computation, numbers
from app.lab.display.modes import modes_figure, modes_sentence, modes_table
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View
from drople.analysis import Analysis
from drople.lab.modes import ModeEffect, mode_effect, variants

INTRO = (
    "“Dropped” has many meanings: here the same seed's draw is carried out in each, from setting "
    "to zero to the released code, which drops nothing."
)
PRESS = "Press Compute the modes: it takes about a second with mini."


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    button = gr.Button("Compute the modes", elem_id="modes-compute")
    plot = gr.Plot(show_label=False, elem_id="modes-plot")
    note = gr.Markdown(elem_id="modes-note", elem_classes="lens-note")
    table = numbers("modes-table", (240, 150, 90, 100, 100, 120))
    view = View(draw, [], [plot, note, table])
    computation = Computation(compute, [view], note, press=PRESS, run=button, needs_prompts=True)
    return computation.on(bench)


def compute(question: Question, *, progress: gr.Progress) -> Iterator[list[ModeEffect]]:
    """The effects of one mode after the other."""
    analysis, settings = question.analysis, question.analysis.settings
    effects: list[ModeEffect] = []
    names = list(variants(settings.dropout))
    for i, name in enumerate(names):
        progress((i, len(names)), desc=f"{i + 1} of {len(names)}: {name}")
        effects = effects + mode_effect(
            question.prompted, analysis.pixels, question.texts,
            settings=settings, target=question.target, mode=name,
        )  # fmt: skip
        yield effects


def draw(
    analysis: Analysis, target: int, effects: list[ModeEffect]
) -> tuple[Any, str, dict[str, Any]]:
    """The bars, the sentence and the table."""
    answer = analysis.classes[analysis.answer]
    sentence = f"One draw (seed {analysis.settings.seed}), for {analysis.classes[target]}. "
    sentence += modes_sentence(effects, answer, analysis.classes)
    table = modes_table(effects, analysis.classes)
    return modes_figure(effects), plain_text(sentence), table
