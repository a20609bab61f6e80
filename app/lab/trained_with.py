"""Trained with: checkpoints that differ in the method alone, all with dropout off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from app.calls import user_errors
from app.figures.theme import colour_bar
from app.figures.trained_with import trained_scale, trained_sheet
from app.glossary import intro
from app.lab.bench import Bench, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture, required, target_index
from app.wording.trained_with import HEADERS, trained_rows, trained_sentence
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
    "now**, to the one checkpoint chosen on the left."
)
NOTHING_TO_COMPARE = (
    "No two trained prompts for this backbone differ in the method alone "
    f"({', '.join(TRAINED_WITH)}). python -m drople train makes them; put the files into "
    "checkpoints/prompts."
)
PRESS = "Press Compare: it takes about a second a checkpoint with mini."


@dataclass(frozen=True)
class Compared:
    """What the checkpoints of one comparison said, and of which picture and class."""

    analysis: Analysis
    target: int
    task: str  # the comparison's title
    answers: tuple[Answer, ...]


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    known = [one.title for one in known_comparisons(bench.studio, "mini")]
    with gr.Row(elem_classes="lens-controls"):
        task = gr.Dropdown(
            known, value=known[0] if known else None, label="Task", elem_id="trained-task",
            filterable=False, min_width=320, scale=3, interactive=True,
        )  # fmt: skip
        run = gr.Button("Compare", elem_id="trained-run", min_width=90)
        stop = gr.Button("Stop", elem_id="trained-stop", min_width=90)
    sheet = picture("Trained with", "trained-sheet")
    bar = gr.HTML(elem_id="trained-bar")
    said = gr.Markdown(elem_id="trained-note", elem_classes="lens-note")
    table = numbers("trained-table", HEADERS, (120, 80, 80, 100, 90, 90, 90, 60, 160))
    held: gr.State = gr.State(None, time_to_live=3600)
    outputs = [sheet, bar, said, table]
    running = run.click(
        bench.call(compute), [bench.state, bench.target, bench.source[0], task],
        [held, *outputs], api_visibility="private", show_progress_on=said, **bench.model,
    )  # fmt: skip
    stop.click(None, None, None, cancels=running, api_visibility="private")
    return [
        View(partial(draw, bench.studio), [task], outputs, [held]),
        View(partial(draw_tasks, bench.studio), [task], [task]),
    ]


def known_comparisons(studio: Studio, backbone: str) -> list[Comparison]:
    """What there is to compare for a backbone."""
    return comparisons(studio.prompts_for(backbone))


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    task: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """One checkpoint after the other; the gallery grows."""
    with user_errors():
        analysis = required(analysis)
        known = {one.title: one for one in known_comparisons(studio, backbone)}
        if task not in known:
            raise SettingsError(NOTHING_TO_COMPARE if not known else "Choose a task first.")
        cards, index = known[task].cards, target_index(analysis, target)
        settings = without_dropout(analysis.settings, analysis.classes[index])
        seen = Image.fromarray(analysis.pixels)
        found: list[Answer] = []
        for i, (name, card) in enumerate(cards.items()):
            progress((i, len(cards)), desc=f"{i + 1} of {len(cards)}: {TRAINED_WITH[card.method]}")
            loaded = studio.load(backbone, name)
            one = studio.analyse(loaded, seen, analysis.classes, settings)
            if not same_picture(one, analysis):
                raise SettingsError(
                    "The backbone on the left is no longer that of this analysis. Press Analyse "
                    "first."
                )
            frozen, adapted = answers(one, name, card, target=index)
            found += [adapted] if found else [frozen, adapted]
            so_far = Compared(analysis, index, task, tuple(found))
            yield so_far, *draw(studio, analysis, index, so_far, task)


def draw(
    studio: Studio, analysis: Analysis, target: int, held: Compared | None, task: str | None
) -> tuple[Any, str, str, dict[str, Any]]:
    """The gallery, its scale, the sentence and the table of what was asked of this picture."""
    known = {one.title: one for one in known_comparisons(studio, analysis.provenance["backbone"])}
    if task not in known:
        return None, "", plain_text(NOTHING_TO_COMPARE), table_of(HEADERS)
    fits = (
        held is not None
        and (held.target, held.task) == (target, task)
        and same_picture(held.analysis, analysis)
    )
    if held is None or not fits:
        return None, "", PRESS, table_of(HEADERS)
    found, classes = held.answers, analysis.classes
    sentence = trained_sentence(known[task], classes, target, found)
    bar = colour_bar(trained_scale(analysis, target, found))
    table = table_of(HEADERS, trained_rows(known[task], classes, target, found))
    shown = gr.Image(trained_sheet(analysis, target, found), alt_text=sentence)
    return shown, bar, plain_text(sentence), table


def draw_tasks(studio: Studio, analysis: Analysis, target: int, task: str | None) -> Any:
    """The tasks there are for the backbone of this analysis; the chosen one stays if it can."""
    known = [one.title for one in known_comparisons(studio, analysis.provenance["backbone"])]
    return gr.Dropdown(known, value=task if task in known else next(iter(known), None))
