"""Sinks: tokens with a far-out norm or attention, and the dropout without them on its scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.calls import user_errors
from app.figures.sinks import p_scale, p_sheet, sinks_scales, sinks_sheet
from app.figures.theme import colour_bar
from app.glossary import intro
from app.lab.bench import NO_DROPOUT_HERE, Bench, Question, numbers, table_of
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.shared import View, picture
from app.wording.sinks import (
    EFFECT_HEADERS,
    HEADERS,
    effect_rows,
    effect_sentence,
    sinks_rows,
    sinks_sentence,
)
from drople.analysis import Analysis, same_question
from drople.lab.sinks import LayerSinks, find_sinks, sink_effects, without_sinks

INTRO = (
    "A few tokens with a huge norm often take the attention of all others (Darcet et al. 2024) "
    "and then set the scale of p: here they are framed, and IWTD is run again without them on its "
    "scale. Far out is above Q3 + 3 (Q3 − Q1) of the layer’s patches and prompts."
)
PRESS = "Press Find sinks: it takes about two seconds with mini."


@dataclass(frozen=True)
class Sinks:
    """What was found in one picture, and the analysis without sinks on the scale."""

    analysis: Analysis
    found: dict[str, list[LayerSinks]]
    after: Analysis | None  # None until it is there, and without trained prompts


def build(bench: Bench) -> list[View]:
    """Lays the view out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        layer = gr.Slider(1, 12, 1, step=1, label="Layer", elem_id="sinks-layer", min_width=160)
        run = gr.Button("Find sinks", elem_id="sinks-run", min_width=90)
        stop = gr.Button("Stop", elem_id="sinks-stop", min_width=90)
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        sheet = picture("Sinks", "sinks-sheet")
        bars = gr.HTML(elem_id="sinks-bars")
    said = gr.Markdown(elem_id="sinks-note", elem_classes="lens-note")
    with gr.Row(), gr.Column(elem_classes="lens-two"):
        again = picture("p with and without sinks on the scale", "sinks-p")
        p_bar = gr.HTML(elem_id="sinks-p-bar")
    effect = gr.Markdown(elem_id="sinks-effect", elem_classes="lens-note")
    effects = numbers("sinks-effects", EFFECT_HEADERS, (60, 90, 120, 90, 120, 90, 130, 90))
    table = numbers("sinks-table", HEADERS, (70, 100, 100, 100, 90, 120, 120, 70, 130))
    held: gr.State = gr.State(None, time_to_live=3600)
    first = View(draw, [layer], [sheet, bars, said, table, layer], [held])
    second = View(draw_again, [layer], [again, p_bar, effect, effects], [held])
    drawn = [held, *first.outputs, *second.outputs]
    bench.streams((run, stop), compute, [layer], drawn, said)
    return [first, second]


def compute(
    studio: Studio,
    analysis: Analysis | None,
    target: str | None,
    backbone: str,
    prompts: str,
    layer: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio asks for one
) -> Iterator[tuple[Any, ...]]:
    """The sinks of both branches, then the analysis without them on the scale."""
    with user_errors():
        asked = Question.of(studio, analysis, target, backbone, prompts)
        analysis, index = asked.analysis, asked.target
        progress((0, 2), desc="1 of 2: norms and attention of both branches")
        found = studio.in_turn(partial(find_sinks, asked.loaded.model, analysis.pixels))
        held = Sinks(analysis, found, None)
        yield held, *draw(analysis, index, held, layer), *draw_again(analysis, index, held, layer)
        if not analysis.adapted:
            return
        progress((1, 2), desc="2 of 2: the dropouts without sinks on the scale")
        held = Sinks(analysis, found, asked.again(without_sinks(analysis.settings)))
        yield held, *draw(analysis, index, held, layer), *draw_again(analysis, index, held, layer)


def _fits(analysis: Analysis, held: Sinks | None) -> bool:
    return held is not None and same_question(held.analysis, analysis)


def draw(
    analysis: Analysis, target: int, held: Sinks | None, layer: float
) -> tuple[Any, str, str, dict[str, Any], Any]:
    """Norms and attention with the sinks framed, their scales, the sentence and the table."""
    reach = len(analysis.images["frozen"].layers)
    slider = gr.Slider(maximum=reach)
    if held is None or not _fits(analysis, held):
        return None, "", PRESS, table_of(HEADERS), slider
    index = min(int(layer), reach) - 1
    sentence = sinks_sentence(held.found, index)
    bars = "".join(colour_bar(scale) for scale in sinks_scales(held.found, index))
    shown = gr.Image(sinks_sheet(analysis, held.found, index), alt_text=sentence)
    table = table_of(HEADERS, sinks_rows(held.found))
    return shown, bars, plain_text(sentence), table, slider


def draw_again(
    analysis: Analysis, target: int, held: Sinks | None, layer: float
) -> tuple[Any, str, str, dict[str, Any]]:
    """IWTD's p before and after, its scale, the sentence and the table."""
    nothing = table_of(EFFECT_HEADERS)
    if not analysis.adapted:
        return None, "", NO_DROPOUT_HERE, nothing
    if held is None or not _fits(analysis, held) or held.after is None:
        return None, "", "", nothing
    index = min(int(layer), len(analysis.images["frozen"].layers)) - 1
    table = table_of(EFFECT_HEADERS, effect_rows(sink_effects(analysis, held.after)))
    sentence = effect_sentence(analysis, held.after, target)
    sheet = p_sheet(analysis, held.after, index)
    if sheet is None:
        sentence = f"No dropout acts after layer {index + 1}. {sentence}"
        return None, "", plain_text(sentence), table
    shown = gr.Image(sheet, alt_text=sentence)
    return shown, colour_bar(p_scale(analysis)), plain_text(sentence), table
