"""Sinks: tokens with a far-out norm or attention, and the dropout without them on its scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, Computation, layer_index, numbers
from app.lab.display import sinks as display
from app.lab.display.tables import table_of
from app.lab.question import Question
from app.markdown import plain_text
from app.tabs.shared import View, picture, pictured
from drople.analysis import Analysis
from drople.lab.sinks import LayerSinks, find_sinks, sink_effects, without_sinks

INTRO = (
    "In large ViTs a few tokens with a huge norm take the attention of all others (Darcet et al. "
    "2024). Framed here, each by itself: norms and attention that are far out, above "
    "Q3 + 3 (Q3 − Q1) of the layer’s patches and prompts. IWTD is then run again without the "
    "tokens of far-out importance on its scale."
)
PRESS = "Press Find sinks: it takes about two seconds with mini."
# The sinks of each branch; and the analysis without them on the scale, which is None until it is
# there, and without trained prompts.
Effects = tuple[dict[str, list[LayerSinks]], Analysis | None]


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        run = gr.Button("Find sinks", elem_id="sinks-run", min_width=90)
        stop = gr.Button("Stop", elem_id="sinks-stop", min_width=90)
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("Sinks", "sinks-sheet")
        bars = gr.HTML(elem_id="sinks-bars")
    note = gr.Markdown(elem_id="sinks-note", elem_classes="lens-note")
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        again = picture("p with and without sinks on the scale", "sinks-p")
        p_bar = gr.HTML(elem_id="sinks-p-bar")
    effect = gr.Markdown(elem_id="sinks-effect", elem_classes="lens-note")
    effects = numbers("sinks-effects", (60, 90, 120, 90, 120, 90, 130, 90))
    table = numbers("sinks-table", (70, 100, 100, 100, 90, 120, 120, 70, 130))
    views = [
        View(draw, [bench.layer], [sheet, bars, note, table]),
        View(draw_again, [bench.layer], [again, p_bar, effect, effects]),
    ]
    return Computation(
        compute, views, note, press=PRESS, run=run, stop=stop, per_class=False
    ).on(bench)  # fmt: skip


def compute(question: Question, *, progress: gr.Progress) -> Iterator[Effects]:
    """The sinks of both branches, then the analysis without them on the scale."""
    analysis = question.analysis
    progress((0, 2), desc="1 of 2: norms and attention of both branches")
    sinks = find_sinks(question.loaded.model, analysis.pixels)
    yield sinks, None
    if analysis.adapted:
        progress((1, 2), desc="2 of 2: the dropouts without sinks on the scale")
        yield sinks, question.again(without_sinks(analysis.settings))


def draw(
    analysis: Analysis, target: int, result: Effects, layer: float
) -> tuple[Any, str, str, dict[str, Any]]:
    """Norms and attention with the sinks framed, their scales, the sentence and the table."""
    sinks, index = result[0], layer_index(analysis, layer)
    sentence = display.sinks_sentence(sinks, index)
    shown = pictured(display.sinks_sheet(analysis, sinks, index), sentence)
    return *shown, plain_text(sentence), display.sinks_table(sinks)


def draw_again(
    analysis: Analysis, target: int, result: Effects, layer: float
) -> tuple[Any, str, str, dict[str, Any]]:
    """IWTD's p before and after, its scale, the sentence and the table."""
    after, index = result[1], layer_index(analysis, layer)
    if after is None:
        note = "" if analysis.adapted else NO_DROPOUT_HERE
        return None, "", note, table_of()
    table = display.effects_table(sink_effects(analysis, after))
    sentence = display.effect_sentence(analysis, after, target)
    sheet = display.p_sheet(analysis, after, index)
    if sheet is None:
        sentence = f"No dropout acts after layer {index + 1}. {sentence}"
    return *pictured(sheet, sentence), plain_text(sentence), table
