"""Trained with: checkpoints that differ in the method alone, all with dropout off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from app.glossary import intro
from app.lab.bench import Bench, Computation, numbers
from app.lab.display import trained_with as display
from app.lab.display.tables import table_of
from app.lab.question import Question
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture, pictured
from drople.analysis import Analysis
from drople.errors import SettingsError
from drople.lab.trained_with import (
    TRAINED_WITH,
    Answer,
    Comparison,
    answers,
    comparisons,
    same_picture,
    without_dropout,
)

INTRO = (
    "**B: trained with.** Checkpoints that learnt the same task with different dropouts, each "
    "asked with dropout off. Views with a dropout show **A: applied "
    "now**, to the one checkpoint chosen above."
)
NOTHING_TO_COMPARE = (
    "No two trained prompts for this backbone differ in the method alone "
    f"({', '.join(TRAINED_WITH)}). python -m drople train makes them; put the files into "
    "checkpoints/prompts."
)
PRESS = "Press Compare: it takes about a second a checkpoint with mini."


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    known = known_tasks(bench.studio, "mini")
    with gr.Row(elem_classes="lens-controls"):
        task = gr.Dropdown(
            [*known], value=next(iter(known), None), label="Task", elem_id="trained-task",
            filterable=False, min_width=320, scale=3, interactive=True,
        )  # fmt: skip
        run = gr.Button("Compare", elem_id="trained-run", min_width=90)
        stop = gr.Button("Stop", elem_id="trained-stop", min_width=90)
    sheet = picture("Trained with", "trained-sheet")
    bar = gr.HTML(elem_id="trained-bar")
    note = gr.Markdown(elem_id="trained-note", elem_classes="lens-note")
    table = numbers("trained-table", (120, 90, 80, 100, 100, 100, 100, 100, 180))
    views = Computation(
        compute, [View(partial(draw, bench.studio), [task], [sheet, bar, note, table])], note,
        press=None, run=run, stop=stop, inputs=[task], binding=[task], same=same_picture,
    ).on(bench)  # fmt: skip
    return [*views, View(partial(draw_tasks, bench.studio), [task], [task])]


def known_tasks(studio: Studio, backbone: str) -> dict[str, Comparison]:
    """What there is to compare for a backbone, by title."""
    return {one.title: one for one in comparisons(studio.prompts_for(backbone))}


def compute(
    question: Question, task: str | None, *, progress: gr.Progress
) -> Iterator[tuple[Answer, ...]]:
    """The answers of one checkpoint after the other; the gallery grows."""
    studio, analysis = question.studio, question.analysis
    known = known_tasks(studio, question.backbone)
    if task not in known:
        raise SettingsError(NOTHING_TO_COMPARE if not known else "Choose a task first.")
    cards = known[task].cards
    settings = without_dropout(analysis.settings, analysis.classes[question.target])
    image = Image.fromarray(analysis.pixels)
    all_answers: tuple[Answer, ...] = ()
    for i, (name, card) in enumerate(cards.items()):
        progress((i, len(cards)), desc=f"{i + 1} of {len(cards)}: {TRAINED_WITH[card.method]}")
        loaded = studio.load(question.backbone, name)
        one = studio.analyse(loaded, image, analysis.classes, settings)
        if not same_picture(one, analysis):
            raise SettingsError("The form names another backbone by now. Press Analyse first.")
        frozen, adapted = answers(one, name, card, target=question.target)
        all_answers = (*all_answers, adapted) if all_answers else (frozen, adapted)
        yield all_answers


def draw(
    studio: Studio,
    analysis: Analysis,
    target: int,
    answers: tuple[Answer, ...] | None,
    task: str | None,
) -> tuple[Any, str, str, dict[str, Any]]:
    """The gallery, its scale, the sentence and the table."""
    known = known_tasks(studio, analysis.provenance["backbone"])
    if task not in known or answers is None:
        note = PRESS if task in known else plain_text(NOTHING_TO_COMPARE)
        return None, "", note, table_of()
    sentence = display.trained_sentence(known[task], analysis.classes, target, answers=answers)
    table = display.trained_table(known[task], analysis.classes, target, answers=answers)
    shown = pictured(display.trained_sheet(analysis, target, answers), sentence)
    return *shown, plain_text(sentence), table


def draw_tasks(studio: Studio, analysis: Analysis, target: int, task: str | None) -> Any:
    """The tasks there are for the backbone of this analysis; the chosen one stays if it can."""
    known = known_tasks(studio, analysis.provenance["backbone"])
    return gr.Dropdown([*known], value=task if task in known else next(iter(known), None))
