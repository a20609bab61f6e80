"""Dropped tokens: vanilla and IWTD side by side, in one shared draw at a matched rate."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.figures.dropped import dropped_panel, dropping, often_panel, often_scale, stays_hidden
from app.figures.patches import enlarge
from app.figures.theme import CONDITION_NAMES, colour_bar
from app.glossary import intro
from app.markdown import plain_text
from app.tabs.shared import View, panel
from app.wording.dropped import counts_headers, counts_table
from app.wording.sentences import dropped_sentence
from drople.analysis import Analysis

INTRO = (
    "Which patches each dropout drops in this run (hatched). Both compare the same random number "
    "per token, so they differ only in p. Dropping happens while training; here (A) it is applied "
    "now, to finished weights, to see what it would do."
)
ONE, OFTEN = "after this layer", "how often over the layers"


def build() -> list[View]:
    """Lays the tab out."""
    intro(INTRO)
    with gr.Row(elem_classes="lens-controls"):
        layer = gr.Slider(1, 12, 2, step=1, label="Layer", elem_id="drop-layer", min_width=160)
        view = gr.Radio([ONE, OFTEN], value=ONE, label="Show what is dropped", elem_id="drop-view")
    with gr.Row():
        _, vanilla = panel("vanilla", "drop-vanilla", " (A)")
        _, iwtd = panel("iwtd", "drop-iwtd", " (A)")
    bar = gr.HTML(elem_id="drop-bar")
    note = gr.Markdown(elem_id="drop-note", elem_classes="lens-note")
    with gr.Accordion("Layer by layer", open=False):
        table = gr.Dataframe(
            show_label=False, interactive=False, elem_id="drop-table", buttons=["copy"], wrap=True
        )
    return [
        View(draw, [layer, view], [vanilla, iwtd, bar, note]),
        View(draw_table, [], [table, layer]),
    ]


def draw(analysis: Analysis, target: int, layer: float, view: str) -> tuple[Any, Any, str, str]:
    """Both photographs, the legend and the sentence."""
    if not analysis.adapted:
        photo = enlarge(analysis.pixels)
        return photo, photo, "", "Without trained prompts there is nothing to drop from."
    index = min(int(layer), len(analysis.images["iwtd"].layers)) - 1
    first, second = dropping(analysis)[0], dropping(analysis)[-1]
    if view == OFTEN:
        panels = [often_panel(analysis, c) for c in (first, second)]
        sentence = (
            "A dropped patch stays hidden to the end, so it is dropped at most once: this shows "
            "what is gone in the end."
            if stays_hidden(analysis)
            else "A dropped patch is filled again from its neighbours in later layers: this counts "
            "drops, it is not what is lost."
        )
        bar = colour_bar(often_scale(analysis))
    else:
        panels = [dropped_panel(analysis, c, index) for c in (first, second)]
        shown = analysis.maps.classes
        cam = analysis.maps.values["adapted"][shown.index(target)] if target in shown else None
        sentence = dropped_sentence(analysis, index, cam)
        bar = '<div class="lens-legend"><span class="lens-hatch"></span> dropped'
        if stays_hidden(analysis):
            bar += '<span class="lens-grey"></span> hidden before'
        bar += "</div>"
    pictures = [
        gr.Image(shown, alt_text=f"{CONDITION_NAMES[c]}: {sentence}")
        for c, shown in zip((first, second), panels, strict=True)
    ]
    return pictures[0], pictures[1], bar, plain_text(sentence)


def draw_table(analysis: Analysis, target: int) -> tuple[dict[str, Any], Any]:
    """Counts of every layer, and the slider's reach."""
    if not analysis.adapted:
        return {"headers": ["layer"], "data": []}, gr.skip()
    table = {"headers": counts_headers(analysis), "data": counts_table(analysis)}
    return table, gr.Slider(maximum=len(analysis.images["iwtd"].layers))
