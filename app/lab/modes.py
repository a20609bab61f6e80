"""Modes: the same draw carried out in every way there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.modes import modes_figure
from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View
from app.wording.modes import HEADERS, modes_rows, modes_sentence
from drople.analysis import Analysis, same_question
from drople.branches import ADAPTED
from drople.lab.modes import ModeEffect, mode_effect, variants

INTRO = (
    "“Dropped” has five meanings: here the same seed's draw is carried out in each, from setting "
    "to zero to the released code, which drops nothing."
)


@dataclass(frozen=True)
class Modes:
    """What was computed, and for which question."""

    analysis: Analysis
    target: int
    effects: tuple[ModeEffect, ...]


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    button = gr.Button("Compute the modes", elem_id="modes-compute")
    plot = gr.Plot(show_label=False, elem_id="modes-plot")
    said = gr.Markdown(elem_id="modes-note", elem_classes="lens-note")
    table = numbers("modes-table", HEADERS, (240, 150, 90, 100, 100, 120))
    held: gr.State = gr.State(None, time_to_live=3600)
    outputs = [plot, said, table]
    button.click(
        bench.call(compute), bench.asked(), [held, *outputs],
        api_visibility="private", show_progress_on=said, **bench.model,
    )  # fmt: skip
    return [View(draw, [], outputs, [held])]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """One mode after the other; the figure grows."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts, adapted=True)
        analysis, index, texts = asked.analysis, asked.target, asked.texts()
        settings = analysis.settings
        effects: list[ModeEffect] = []
        names = list(variants(settings.dropout))
        for i, name in enumerate(names):
            progress((i, len(names)), desc=f"{i + 1} of {len(names)}: {name}")
            run = partial(
                mode_effect,
                asked.prompted,
                analysis.pixels,
                texts,
                settings=settings,
                target=index,
                mode=name,
            )
            effects += studio.in_turn(run)
            done = Modes(analysis, index, tuple(effects))
            yield done, *draw(analysis, index, done)


def draw(analysis: Analysis, target: int, held: Modes | None) -> tuple[Any, str, dict[str, Any]]:
    """The bars, the sentence and the table of what was computed for this very question."""
    if not analysis.adapted:
        return None, NO_DROPOUT_HERE, table_of(HEADERS)
    fits = held is not None and held.target == target and same_question(held.analysis, analysis)
    if held is None or not fits:
        return None, "Press Compute: it takes about a second with mini.", table_of(HEADERS)
    effects = list(held.effects)
    answer = analysis.classes[int(analysis.predictions[ADAPTED].cosines.argmax())]
    said = f"One draw (seed {analysis.settings.seed}), for {analysis.classes[target]}. "
    said += modes_sentence(effects, answer, analysis.classes)
    table = table_of(HEADERS, modes_rows(effects, analysis.classes))
    return modes_figure(effects), plain_text(said), table
